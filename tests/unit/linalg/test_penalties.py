"""A penalty is zero exactly where its paper wants the update to be, and a basis is orthonormal and random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lorastream.linalg import penalties
from lorastream.linalg.penalties import (
    fisher_penalty,
    null_space_penalty,
    orthogonality_penalty,
    random_basis,
    sparsity_penalty,
    squared_gradients,
)

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 7)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=_generator(seed))


@given(SEEDS, st.integers(1, 12), st.data())
def test_a_basis_is_orthonormal(seed: int, width: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, width))
    basis = random_basis(width, size, generator=_generator(seed))
    assert basis.shape == (width, size)
    torch.testing.assert_close(basis.mT @ basis, torch.eye(size, dtype=torch.float64), atol=1e-12, rtol=0)


def test_a_basis_follows_from_its_generator_and_has_no_preferred_direction() -> None:
    assert torch.equal(random_basis(5, 2, generator=_generator(3)), random_basis(5, 2, generator=_generator(3)))
    generator = _generator(1)
    firsts = torch.stack([random_basis(3, 1, generator=generator)[:, 0] for _ in range(2000)])
    assert firsts.mean(dim=0).abs().max() < 0.05
    torch.testing.assert_close(firsts.mT @ firsts / 2000, torch.eye(3, dtype=torch.float64) / 3, atol=0.03, rtol=0)


@given(SEEDS, SIZES, SIZES)
def test_the_overlap_is_zero_only_for_rows_that_are_orthogonal_to_all_past_ones(
    seed: int, rank: int, past: int
) -> None:
    basis = random_basis(rank + past, rank + past, generator=_generator(seed)).mT
    assert orthogonality_penalty(basis[:rank], basis[rank:]).item() == pytest.approx(0, abs=1e-11)
    tilted = basis[:rank] + 0.1 * basis[rank]
    assert orthogonality_penalty(tilted, basis[rank:]).item() == pytest.approx(0.1 * rank)
    assert orthogonality_penalty(tilted, basis[rank:], squared=True).item() == pytest.approx(0.01 * rank)


def test_without_a_past_nothing_overlaps() -> None:
    down = _random(0, 2, 5).requires_grad_()
    penalty = orthogonality_penalty(down, torch.empty(0, 5, dtype=torch.float64))
    assert penalty.item() == 0
    assert not torch.autograd.grad(penalty, down)[0].any()


@given(SEEDS, SIZES, SIZES, st.integers(1, 3))
def test_sparsity_and_fisher_are_sums_over_the_entries_of_the_product(seed: int, m: int, n: int, rank: int) -> None:
    up, down, fisher = _random(seed, m, rank), _random(seed + 1, rank, n), _random(seed + 2, m, n).abs()
    product = [[sum(float(up[i, k] * down[k, j]) for k in range(rank)) for j in range(n)] for i in range(m)]
    absolute = sum(abs(entry) for row in product for entry in row)
    weighed = sum(float(fisher[i, j]) * product[i][j] ** 2 for i in range(m) for j in range(n)) / 2
    assert sparsity_penalty(up, down).item() == pytest.approx(absolute, abs=1e-12)
    assert fisher_penalty(up, down, fisher).item() == pytest.approx(weighed, abs=1e-12)


def test_an_update_that_is_zero_costs_nothing_and_is_not_pushed_away() -> None:
    up, down = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True), _random(1, 2, 4).requires_grad_()
    for penalty in (sparsity_penalty(up, down), fisher_penalty(up, down, torch.ones(3, 4, dtype=torch.float64))):
        assert penalty.item() == 0
        assert not any(gradient.any() for gradient in torch.autograd.grad(penalty, [up, down]))


@given(SEEDS)
def test_an_update_with_p_in_its_null_space_and_nothing_along_q_costs_nothing(seed: int) -> None:
    ins, outs = (random_basis(width, width, generator=_generator(seed)) for width in (6, 5))
    up, down = outs[:, 3:] @ _random(seed, 2, 2), _random(seed + 1, 2, 3) @ ins[:, 3:].mT
    assert null_space_penalty(up, down, ins[:, :3], outs[:, :3]).item() == pytest.approx(0, abs=1e-12)
    assert ((up @ down) @ ins[:, :3]).abs().max() < 1e-12
    assert null_space_penalty(up, down, ins, outs).item() == pytest.approx(
        (up.square().sum() + down.square().sum()).item()
    )


@pytest.mark.parametrize("at_once", [1, 24, 10**6])
def test_squared_gradients_are_those_of_a_linear_layer_image_by_image(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(penalties, "NUMBERS_AT_ONCE", at_once)
    inputs, targets = _random(0, 5, 3, 4), _random(1, 5, 3, 2)
    weight = _random(2, 2, 4).requires_grad_()
    expected = torch.zeros(2, 4, dtype=torch.float64)
    for image, target in zip(inputs, targets, strict=True):
        (gradient,) = torch.autograd.grad((image @ weight.mT - target).square().sum(), weight)
        expected += gradient.square()
    gradients = 2 * (inputs @ weight.detach().mT - targets)
    torch.testing.assert_close(squared_gradients(inputs, gradients), expected, atol=1e-12, rtol=1e-12)
