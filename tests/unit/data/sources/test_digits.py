"""The digits are scikit-learn's, in a split that never changes."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from lorastream.data import sources
from lorastream.data.images import count_by_class


def test_all_1797_digits_are_split_by_class_without_overlap() -> None:
    digits = sources.load("digits")
    assert digits.class_names == tuple("0123456789")
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert set(digits.train.names).isdisjoint(digits.test.names)
    assert count_by_class(digits.test, 10) == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]


def test_the_split_is_the_same_today_as_ever() -> None:
    digits = sources.load("digits")
    assert digits.test.names[:4] == ["digits[21]", "digits[24]", "digits[28]", "digits[34]"]
    assert digits.test.fingerprint == sources.load("digits").test.fingerprint
    assert digits.test.fingerprint != digits.train.fingerprint


def test_ink_is_white_and_the_picture_is_the_one_named() -> None:
    digits = sources.load("digits")
    images = load_digits().images
    for i in (0, 100, 1436):
        image = digits.train.read(i)
        position = int(digits.train.names[i].removeprefix("digits[").removesuffix("]"))
        assert (image.mode, image.size) == ("RGB", (8, 8))
        assert np.array_equal(np.asarray(image)[:, :, 0], np.rint(images[position] * 255 / 16))
    assert max(np.asarray(digits.train.read(i)).max() for i in range(20)) == 255
