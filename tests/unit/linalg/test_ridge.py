"""A ridge system is solved as written where it can be, and with the least penalty that makes it solvable otherwise."""

from __future__ import annotations

import pytest
import torch

from lorastream.linalg.ridge import ridge_map, ridge_solve


def test_by_hand() -> None:
    """G = diag(1, 3), λ = 1: [4, 8] over [2, 4]."""
    weight, penalty = ridge_solve(torch.tensor([1.0, 3.0]).diag(), torch.tensor([[4.0], [8.0]]), 1.0)
    assert weight.flatten().tolist() == pytest.approx([2, 2])
    assert penalty == 1.0


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_system_that_is_not_positive_definite_gets_a_larger_penalty(scale: float) -> None:
    gram = scale * torch.ones(4, 4, dtype=torch.float64)
    gram[0, 0] -= 1e-12 * scale
    weight, penalty = ridge_solve(gram, scale * torch.ones(4, 1, dtype=torch.float64), 0.0)
    assert 0 < penalty < 1e-6 * scale
    assert float(weight.sum()) == pytest.approx(1, rel=1e-3)


def test_nothing_but_zeros_is_solved_by_zeros() -> None:
    weight, _ = ridge_solve(torch.zeros(3, 3), torch.zeros(3, 2), 0.0)
    assert not weight.any()


def test_a_system_that_is_not_finite_is_given_up() -> None:
    with pytest.raises(ArithmeticError):
        ridge_solve(torch.full((2, 2), float("nan")), torch.ones(2, 1), 1.0)


def test_a_map_is_found_from_rows() -> None:
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.tensor([[1.0, 2, 0], [0, -1, 3]], dtype=torch.float64)
    torch.testing.assert_close(ridge_map(rows, rows @ expected.mT, ridge=1e-9), expected, atol=1e-8, rtol=0)
    assert ridge_map(rows, rows @ expected.mT, ridge=1e6).abs().max() < 1e-3
