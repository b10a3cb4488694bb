"""Synthetic patterns are the same every time, and a linear probe tells them apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from lorastream.data import sources
from lorastream.data.images import Images, count_by_class


def pixels(images: Images) -> np.ndarray:
    return np.stack([np.asarray(images.read(i)).ravel() for i in range(len(images))]) / 255


@pytest.mark.parametrize("n_classes", [2, 25])
def test_a_linear_probe_tells_the_classes_apart(n_classes: int) -> None:
    data = sources.load("synthetic", n_classes=n_classes, images_per_class=8, test_images_per_class=4, size=12)
    probe = RidgeClassifier().fit(pixels(data.train), data.train.labels)
    assert probe.score(pixels(data.test), data.test.labels) == 1


def test_it_has_as_many_classes_and_images_as_it_is_told() -> None:
    data = sources.load("synthetic", n_classes=3, images_per_class=4, test_images_per_class=2, size=20)
    assert data.class_names == ("pattern 0", "pattern 1", "pattern 2")
    assert count_by_class(data.train, 3) == [4, 4, 4]
    assert count_by_class(data.test, 3) == [2, 2, 2]
    assert data.train.read(0).size == (20, 20)


def test_no_two_images_are_equal_and_all_repeat() -> None:
    first, again, other = (sources.load("synthetic", n_classes=2, seed=seed, size=8) for seed in (0, 0, 1))
    assert np.array_equal(pixels(first.train), pixels(again.train))
    assert not np.array_equal(pixels(first.train), pixels(other.train))
    everything = np.concatenate([pixels(first.train), pixels(first.test)])
    assert len(np.unique(everything, axis=0)) == len(everything)
    assert first.train.fingerprint == again.train.fingerprint
    assert len({first.train.fingerprint, first.test.fingerprint, other.train.fingerprint}) == 3
