"""Inner products and fits of low-rank products are those of the dense products, which are never formed."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lorastream.linalg.least_squares import fit_last, product_gram

ROWS, COLUMNS = 9, 8


def _stack(ranks: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    total = sum(ranks)
    block = torch.repeat_interleave(torch.arange(len(ranks)), torch.tensor(ranks))
    up = torch.randn(ROWS, total, generator=generator, dtype=torch.float64)
    return up, torch.randn(total, COLUMNS, generator=generator, dtype=torch.float64), block


def _dense(up: Tensor, down: Tensor, block: Tensor, n: int) -> Tensor:
    """Return the products as vectors, `[n, ROWS * COLUMNS]`."""
    return torch.stack([(up[:, block == k] @ down[block == k]).flatten() for k in range(n)])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 50))
def test_the_gram_is_that_of_the_dense_products(ranks: list[int], seed: int) -> None:
    up, down, block = _stack(ranks, seed)
    dense = _dense(up, down, block, len(ranks))
    torch.testing.assert_close(product_gram(up, down, block, len(ranks)), dense @ dense.mT)


@given(st.lists(st.integers(1, 3), min_size=2, max_size=5), st.integers(0, 50))
def test_the_fit_is_that_of_a_dense_solver(ranks: list[int], seed: int) -> None:
    up, down, block = _stack(ranks, seed)
    dense = _dense(up, down, block, len(ranks))
    coefficients, squared = fit_last(dense @ dense.mT)
    expected = torch.linalg.lstsq(dense[:-1].mT, dense[-1:].mT, driver="gelsd").solution[:, 0]
    torch.testing.assert_close(coefficients, expected)
    torch.testing.assert_close(squared, (dense[-1] - expected @ dense[:-1]).square().sum())


def test_a_fit_by_nothing_leaves_everything() -> None:
    """One vector of squared length 4: no coefficients, residual 4."""
    coefficients, squared = fit_last(torch.tensor([[4.0]], dtype=torch.float64))
    assert coefficients.shape == (0,)
    assert squared.item() == 4.0


def test_worked_by_hand() -> None:
    """v1 = (1, 0), v2 = (1, 1), v3 = (3, 2) = v1 + 2 v2: coefficients 1 and 2, residual 0.

    The inner products: 1, 1, 3; 1, 2, 5; 3, 5, 13.
    """
    gram = torch.tensor([[1.0, 1, 3], [1, 2, 5], [3, 5, 13]], dtype=torch.float64)
    coefficients, squared = fit_last(gram)
    torch.testing.assert_close(coefficients, torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert squared.item() < 1e-12


class _LargestMatrix(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        del types
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.largest = max(self.largest, out.numel())
        return out


def test_the_dense_product_is_never_formed() -> None:
    up, down = torch.ones(500, 6), torch.ones(6, 400)
    with _LargestMatrix() as seen:
        product_gram(up, down, torch.tensor([0, 0, 0, 1, 1, 1]), 2)
    assert seen.largest == 500 * 6
