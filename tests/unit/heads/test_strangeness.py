"""The further a feature lies from every class, in units of the spread within classes, the stranger it is."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.distance import cdist

from lorastream.heads.shared_covariance import SharedCovariance
from lorastream.heads.strangeness import MahalanobisDistance, strangeness

CPU = torch.device("cpu")


def _statistics(n: int = 40, width: int = 5) -> SharedCovariance:
    generator = torch.Generator().manual_seed(0)
    stretch = torch.diag(torch.logspace(-2, 2, width))
    classes = [torch.randn(n, width, generator=generator) @ stretch + 5 * label for label in range(3)]
    statistics = SharedCovariance()
    statistics.put(0, classes)
    return statistics


def test_it_is_the_distance_of_mahalanobis() -> None:
    statistics = _statistics()
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)) * 20
    inverse = torch.linalg.inv(statistics.within_class()).numpy()
    expected = cdist(features.double().numpy(), statistics.means.double().numpy(), "mahalanobis", VI=inverse)
    found = MahalanobisDistance(statistics, CPU)
    assert not found.is_euclidean
    torch.testing.assert_close(found(features).double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_without_a_spread_it_is_plain() -> None:
    statistics = SharedCovariance()
    statistics.put(0, [torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])])
    found = MahalanobisDistance(statistics, CPU)
    assert found.is_euclidean
    torch.testing.assert_close(found(torch.tensor([[0.0, 0.0]])), torch.tensor([[0.0, 5.0]]))


def test_a_direction_without_variance_gives_numbers() -> None:
    """Every image of every class is 7 there: a feature that is not is far away, and no infinity."""
    rows = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    rows[:, 2] = 7
    statistics = SharedCovariance()
    statistics.put(0, [rows])
    near, far = (
        MahalanobisDistance(statistics, CPU)(torch.tensor([[0.0, 0.0, 7.0], [0.0, 0.0, 9.0]])).flatten().tolist()
    )
    assert near < 1
    assert 10 < far < math.inf


def test_scores_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [-math.inf, 2.0]])
    assert strangeness("energy", logits).tolist() == pytest.approx([-math.log(4), -2.0])
    distances = torch.tensor([[4.0, 1.5], [math.inf, 2.0]])
    assert strangeness("mahalanobis", -distances).tolist() == [1.5, 2.0]
