"""One covariance for all classes is that of scikit-learn, however the classes came, and it can always be drawn from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import helmert
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from lorastream.errors import DataError
from lorastream.heads.full_covariance import FullCovariance
from lorastream.heads.shared_covariance import SharedCovariance
from lorastream.heads.statistics import load_statistics, new_statistics


def _features(seed: int, n: int, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator) @ torch.diag(torch.arange(1.0, width + 1)) + 3 * seed


def _of(*classes: Tensor) -> SharedCovariance:
    statistics = SharedCovariance()
    statistics.put(0, classes)
    return statistics


def test_it_is_the_covariance_of_linear_discriminant_analysis() -> None:
    """Scikit-learn divides by n, we by n less the number of classes."""
    classes = [_features(0, 9), _features(1, 30), _features(2, 5)]
    rows, labels = torch.cat(classes).numpy(), np.repeat(range(3), [9, 30, 5])
    reference = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(rows, labels)
    found = _of(*classes)
    assert found.degrees_of_freedom == 44 - 3
    np.testing.assert_allclose(found.covariance.numpy(), reference.covariance_ * 44 / 41, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.means.numpy(), reference.means_, rtol=1e-5, atol=1e-6)


def test_it_is_shrunk_as_scikit_learn_shrinks() -> None:
    """Helmert's rows take the means out of the classes and leave as many rows as there are degrees of freedom."""
    classes = [_features(0, 4, width=12), _features(1, 6, width=12)]
    centred = np.concatenate([helmert(len(own)) @ own.double().numpy() for own in classes])
    assert len(centred) == 8
    reference = OAS(assume_centered=True).fit(centred)
    np.testing.assert_allclose(_of(*classes).within_class().numpy(), reference.covariance_, rtol=1e-4, atol=1e-5)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 5))
def test_classes_may_come_together_or_one_after_another(sizes: list[int], cut: int) -> None:
    classes = [_features(label, n) for label, n in enumerate(sizes)]
    visits = _of(*classes[:cut])
    if classes[cut:]:
        visits.put(cut, classes[cut:])
    for name, tensor in _of(*classes).tensors().items():
        torch.testing.assert_close(visits.tensors()[name], tensor, rtol=1e-4, atol=1e-4)


@given(st.integers(1, 6), st.integers(1, 6))
def test_more_images_of_a_class_count_as_if_they_had_come_at_once(first: int, more: int) -> None:
    whole = _features(3, first + more)
    merged = _of(_features(0, 4), whole[:first], _features(1, 2))
    handed_out = merged.tensors()
    before = {name: tensor.clone() for name, tensor in handed_out.items()}
    merged.merge(1, whole[first:])
    for name, tensor in _of(_features(0, 4), whole, _features(1, 2)).tensors().items():
        torch.testing.assert_close(merged.tensors()[name], tensor, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in handed_out.items())


def test_a_class_that_is_forgotten_takes_its_mean_and_its_weight() -> None:
    statistics = _of(_features(0, 5), _features(1, 7), _features(2, 9))
    covariance, last = statistics.covariance, statistics.means[2]
    statistics.forget(1)
    assert (statistics.n_classes, statistics.degrees_of_freedom) == (2, 12)
    assert torch.equal(statistics.means[1], last)
    assert torch.equal(statistics.covariance, covariance)
    statistics.put(2, [_features(4, 13)])
    own = torch.cov(_features(4, 13).mT)
    torch.testing.assert_close(statistics.covariance, (covariance + own) / 2, rtol=1e-4, atol=1e-4)


def test_putting_all_anew_leaves_nothing_of_the_old() -> None:
    statistics = _of(_features(0, 5), _features(1, 7))
    statistics.put(0, [_features(2, 6), _features(3, 6), _features(4, 6)])
    fresh = _of(_features(2, 6), _features(3, 6), _features(4, 6))
    for name, tensor in fresh.tensors().items():
        assert torch.equal(statistics.tensors()[name], tensor)


def test_one_image_a_class_is_its_mean_until_there_is_a_spread() -> None:
    statistics = _of(_features(0, 1), _features(1, 1))
    assert not statistics.within_class().any()
    drawn = statistics.sample(1, 2, generator=torch.Generator())
    torch.testing.assert_close(drawn, _features(1, 1).double().expand(2, -1))
    statistics.put(2, [_features(2, 3)])
    torch.testing.assert_close(statistics.covariance, torch.cov(_features(2, 3).mT), rtol=1e-4, atol=1e-4)


def test_fewer_images_than_features_can_be_drawn_from() -> None:
    statistics = _of(_features(0, 3, width=50))
    assert torch.linalg.matrix_rank(statistics.covariance) == 2
    drawn = statistics.sample(0, 20_000, generator=torch.Generator().manual_seed(0), mean_scale=0.0)
    spread = torch.cov(drawn.mT)
    assert torch.linalg.matrix_rank(spread) == 50
    assert float((spread - statistics.within_class()).norm() / spread.norm()) < 0.15


def test_what_is_saved_is_loaded_and_draws_the_same() -> None:
    statistics = new_statistics("shared")
    statistics.put(0, [_features(0, 5), _features(1, 7)])
    loaded = load_statistics(statistics.tensors())
    assert isinstance(loaded, SharedCovariance)
    one, other = (s.sample(1, 3, generator=torch.Generator().manual_seed(1), ridge=0.1) for s in (statistics, loaded))
    assert torch.equal(one, other)
    loaded.put(2, [_features(2, 3)])
    assert statistics.n_classes == 2


def test_another_ridge_is_another_draw() -> None:
    statistics = _of(_features(0, 5))
    drawn = [statistics.sample(0, 1000, generator=torch.Generator(), ridge=ridge).std() for ridge in (0.0, 900.0, 0.0)]
    assert drawn[0] == drawn[2]
    assert drawn[1] > 5 * drawn[0]


@pytest.mark.parametrize("given_to", ["put", "merge"])
def test_features_that_are_not_finite_are_refused_and_change_nothing(given_to: str) -> None:
    statistics = _of(_features(0, 5))
    before = statistics.tensors()
    bad = torch.full((2, 4), float("nan"))
    with pytest.raises(DataError, match="class 0"):
        _ = statistics.put(0, [bad]) if given_to == "put" else statistics.merge(0, bad)
    assert all(tensor is before[name] for name, tensor in statistics.tensors().items())


def test_full_covariances_forget_a_class_and_share_one_on_demand() -> None:
    statistics = FullCovariance()
    statistics.put(0, [_features(0, 9), _features(1, 9), _features(2, 9)])
    statistics.forget(0)
    assert statistics.n_classes == 2
    torch.testing.assert_close(statistics.means[0], _features(1, 9).mean(dim=0))
    assert torch.linalg.matrix_rank(statistics.within_class()) == 4
    with pytest.raises(DataError, match=r"(?s)how many images.*covariance=shared.*another name"):
        statistics.merge(0, _features(0, 2))
