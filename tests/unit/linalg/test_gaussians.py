"""A Gaussian has the mean and covariance of its rows, a root of it always, and draws that follow from a generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import OAS
from torch import Tensor

from lorastream.linalg.gaussians import draw, mean_and_covariance, shrunk, square_root, whitening

SEEDS = st.integers(0, 2**32 - 1)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rows(seed: int, n: int, width: int) -> Tensor:
    mix = torch.randn(width, width, dtype=torch.float64, generator=_generator(seed))
    return torch.randn(n, width, dtype=torch.float64, generator=_generator(seed + 1)) @ mix + 3


@given(SEEDS, st.integers(2, 9), st.integers(1, 6))
def test_mean_and_covariance_are_those_of_numpy(seed: int, n: int, width: int) -> None:
    rows = _rows(seed, n, width)
    mean, covariance = mean_and_covariance(rows)
    np.testing.assert_allclose(mean.numpy(), rows.numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance.numpy(), np.cov(rows.numpy(), rowvar=False).reshape(width, width), atol=1e-10)


def test_they_are_computed_in_float64() -> None:
    """4096 and the next float32, 4096 + 2⁻¹¹: their mean, 4096 + 2⁻¹², is no float32; the covariance is 2 (2⁻¹²)²."""
    rows = torch.tensor([[4096.0], [4096.0 + 2**-11]])
    mean, covariance = mean_and_covariance(rows)
    assert mean.item() == 4096 + 2**-12
    assert covariance.item() == 2.0**-23


def test_of_a_single_row_the_covariance_is_zero() -> None:
    mean, covariance = mean_and_covariance(torch.tensor([[1.0, 2.0]]))
    assert mean.tolist() == [1, 2]
    assert covariance.tolist() == [[0, 0], [0, 0]]


@given(SEEDS, st.integers(1, 9), st.integers(1, 6), st.sampled_from([0.0, 1e-4, 1.0]))
def test_a_root_times_itself_is_the_covariance_with_the_ridge(seed: int, n: int, width: int, ridge: float) -> None:
    """Also where there are fewer rows than dimensions and the covariance is singular."""
    _, covariance = mean_and_covariance(_rows(seed, n, width))
    before = covariance.clone()
    root = square_root(covariance, ridge=ridge)
    expected = covariance + ridge * torch.eye(width, dtype=torch.float64)
    torch.testing.assert_close(root @ root.mT, expected, atol=1e-10, rtol=1e-9)
    assert torch.equal(covariance, before)


def test_what_rounding_made_indefinite_has_a_root_too() -> None:
    covariance = torch.diag(torch.tensor([4.0, 0.0, -1e-6]))
    root = square_root(covariance)
    torch.testing.assert_close(root @ root.mT, torch.diag(torch.tensor([4.0, 0, 0], dtype=torch.float64)))


def test_draws_have_the_mean_and_the_covariance() -> None:
    covariance = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    drawn = draw(torch.tensor([5.0, -1.0]), square_root(covariance), 40_000, generator=_generator(0))
    mean, found = mean_and_covariance(drawn)
    torch.testing.assert_close(mean, torch.tensor([5.0, -1.0], dtype=torch.float64), atol=0.03, rtol=0)
    torch.testing.assert_close(found, covariance, atol=0.06, rtol=0)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_draws_follow_from_the_generator(n: int) -> None:
    root = torch.eye(3, dtype=torch.float64)
    first, second = (draw(torch.zeros(3), root, n, generator=_generator(2)) for _ in range(2))
    assert first.shape == (n, 3)
    assert first.dtype == torch.float64
    assert torch.equal(first, second)


def test_without_spread_every_draw_is_the_mean() -> None:
    drawn = draw(torch.tensor([1.0, 2.0]), torch.zeros(2, 2), 3, generator=_generator(0))
    assert drawn.tolist() == [[1, 2]] * 3


@given(SEEDS, st.integers(2, 9), st.integers(1, 6))
def test_shrinkage_is_that_of_scikit_learn(seed: int, n: int, width: int) -> None:
    rows = _rows(seed, n, width)
    covariance = rows.mT @ rows / n
    expected = OAS(assume_centered=True).fit(rows.numpy()).covariance_
    np.testing.assert_allclose(shrunk(covariance, n).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_nothing_is_shrunk_to_nothing() -> None:
    assert not shrunk(torch.zeros(3, 3), 0).any()


@given(SEEDS, st.integers(1, 6))
def test_whitened_the_covariance_is_the_identity(seed: int, width: int) -> None:
    covariance = shrunk(mean_and_covariance(_rows(seed, 20, width))[1], 19)
    whiten = whitening(covariance)
    torch.testing.assert_close(whiten @ covariance @ whiten.mT, torch.eye(width).double(), rtol=1e-4, atol=1e-4)


def test_of_nothing_whitening_changes_nothing() -> None:
    assert torch.equal(whitening(torch.zeros(2, 2)), torch.eye(2).double())
