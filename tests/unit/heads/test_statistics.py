"""What is kept of a class is its mean and its covariance, in the order of arrival, and it can be drawn from again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lorastream.data.task import Batch
from lorastream.errors import CheckpointError, DataError
from lorastream.heads.features import features_by_class
from lorastream.heads.full_covariance import FullCovariance
from lorastream.heads.statistics import load_statistics, new_statistics


def _features(seed: int, n: int = 20, width: int = 3) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) * 2 + seed


def _batch(labels: list[int]) -> Batch:
    n = len(labels)
    return Batch(
        images=torch.zeros(n, 3, 1, 1), labels=torch.tensor(labels), indices=torch.arange(n), global_size=len(labels)
    )


@pytest.fixture
def statistics() -> FullCovariance:
    """Return statistics of three classes, which came in two tasks."""
    known = FullCovariance()
    known.put(0, [_features(0), _features(1)])
    known.put(2, [_features(2)])
    return known


def test_means_and_covariances_are_those_of_numpy(statistics: FullCovariance) -> None:
    assert statistics.n_classes == 3
    for label in range(3):
        rows = _features(label).double().numpy()
        np.testing.assert_allclose(statistics.means[label].numpy(), rows.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(statistics.covariances[label].numpy(), np.cov(rows, rowvar=False), rtol=1e-5)
    assert (statistics.means.dtype, statistics.covariances.dtype) == (torch.float32, torch.float32)


def test_putting_anew_replaces_from_there_on(statistics: FullCovariance) -> None:
    """As for a method that sees all classes again at every task."""
    statistics.put(0, [_features(7), _features(8), _features(9), _features(10)])
    assert statistics.n_classes == 4
    torch.testing.assert_close(statistics.means[0], _features(7).mean(dim=0))


def test_a_gap_is_refused(statistics: FullCovariance) -> None:
    with pytest.raises(DataError, match=r"(?s)of the 5 classes.*of 3.*from the first task on"):
        statistics.put(5, [_features(0)])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused_with_their_class(statistics: FullCovariance, bad: float) -> None:
    with pytest.raises(DataError, match=r"(?s)class 4.*finite"):
        statistics.put(3, [_features(0), torch.tensor([[1.0, bad, 0.0]])])
    assert statistics.n_classes == 3


def test_draws_are_of_the_class_with_its_mean_scaled_and_its_variance_ridged(statistics: FullCovariance) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = statistics.sample(1, 20_000, generator=generator, mean_scale=0.5, ridge=3.0)
    assert drawn.dtype == torch.float64
    torch.testing.assert_close(drawn.mean(dim=0), 0.5 * statistics.means[1].double(), atol=0.08, rtol=0)
    expected = statistics.covariances[1].double() + 3 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(drawn.mT.cov(), expected, atol=0.25, rtol=0)


def test_a_class_of_one_image_has_the_ridge_for_its_spread() -> None:
    statistics = FullCovariance()
    statistics.put(0, [torch.tensor([[1.0, 2.0]])])
    assert not statistics.covariances.any()
    generator = torch.Generator().manual_seed(0)
    assert statistics.sample(0, 2, generator=generator).tolist() == [[1, 2], [1, 2]]
    drawn = statistics.sample(0, 20_000, generator=generator, ridge=1e-4)
    assert drawn.std(dim=0).tolist() == pytest.approx([0.01, 0.01], rel=0.05)


def test_what_is_saved_is_loaded_and_does_not_change_later(statistics: FullCovariance) -> None:
    tensors = statistics.tensors()
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {"full/mean": (3, 3), "full/covariance": (3, 3, 3)}
    loaded = load_statistics(tensors)
    statistics.put(3, [_features(3)])
    assert (loaded.n_classes, tensors["full/mean"].shape[0]) == (3, 3)
    drawn = [one.sample(2, 4, generator=torch.Generator().manual_seed(1)) for one in (loaded, statistics)]
    assert torch.equal(drawn[0], drawn[1])


def test_statistics_begin_empty_and_take_their_width_from_the_first_class() -> None:
    statistics = new_statistics("full")
    assert statistics.n_classes == 0
    statistics.put(0, [_features(0, width=5)])
    assert statistics.tensors()["full/mean"].shape == (1, 5)


def test_a_kind_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"(?s)kind full.*banded"):
        load_statistics({"banded/mean": torch.zeros(1, 2)})


def test_features_are_sorted_by_class_over_batches() -> None:
    passes = [(_batch([4, 5]), torch.tensor([[1.0], [2.0]])), (_batch([5, 4]), torch.tensor([[3.0], [4.0]]))]
    found = features_by_class(passes, range(4, 6))
    assert [own.flatten().tolist() for own in found] == [[1, 4], [2, 3]]


def test_a_class_without_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"(?s)class 5.*at least one training image"):
        features_by_class([(_batch([4]), torch.ones(1, 1))], range(4, 6))
