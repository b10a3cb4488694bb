"""Norms and inner products of low-rank products equal those of the dense products, in float64, for every shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lorastream.linalg.norms import factor_norms, product_inner, product_norm

widths = st.integers(1, 9)
ranks = st.integers(1, 4)
seeds = st.integers(0, 2**31)


def _factors(seed: int, m: int, r: int, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((m, r), (r, n)))


@given(seeds, widths, widths, ranks, ranks)
def test_the_inner_product_is_that_of_the_dense_products(seed: int, m: int, n: int, r: int, q: int) -> None:
    up, down = _factors(seed, m, r, n)
    other_up, other_down = _factors(seed + 1, m, q, n)
    dense = ((up @ down) * (other_up @ other_down)).sum()
    torch.testing.assert_close(product_inner(up, down, other_up, other_down), dense, atol=1e-12, rtol=1e-10)


@given(seeds, widths, widths, ranks)
def test_the_norm_is_that_of_the_dense_product(seed: int, m: int, n: int, r: int) -> None:
    up, down = _factors(seed, m, r, n)
    norm = product_norm(up, down)
    torch.testing.assert_close(norm, torch.linalg.norm(up @ down), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(product_norm(up.float(), down.float()).double(), norm, atol=1e-2, rtol=1e-3)


@given(seeds, widths, widths, ranks)
def test_the_product_of_norms_bounds_it_and_is_it_at_rank_one(seed: int, m: int, n: int, r: int) -> None:
    up, down = _factors(seed, m, r, n)
    dense = torch.linalg.norm(up @ down)
    assert dense <= factor_norms(up, down) * (1 + 1e-12)
    torch.testing.assert_close(factor_norms(up[:, :1], down[:1]), torch.linalg.norm(up[:, :1] @ down[:1]))


def test_by_hand() -> None:
    """Up = [1, 2]', down = [3, 4]: the product is [[3, 4], [6, 8]], of norm √125 = √5 · 5; with itself 125."""
    up, down = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])
    assert product_inner(up, down, up, down).item() == 125.0
    assert product_norm(up, down).item() == pytest.approx(125.0**0.5)
    assert factor_norms(up, down).item() == pytest.approx(5.0**0.5 * 5.0)


def test_a_zero_product_has_norm_zero() -> None:
    assert product_norm(torch.zeros(3, 2), torch.ones(2, 4)).item() == 0.0
    assert factor_norms(torch.zeros(3, 2), torch.ones(2, 4)).item() == 0.0


@pytest.mark.parametrize("norm", [product_norm, factor_norms])
def test_gradients_are_those_of_the_formula(norm: object) -> None:
    up, down = (factor.requires_grad_() for factor in _factors(3, 4, 2, 5))
    assert torch.autograd.gradcheck(norm, (up, down))
