"""Holding out splits every class by the stated part, whatever order the images come in."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.data.holdout import hold_out
from lorastream.data.images import Images
from lorastream.errors import DataError

CLASSES = ("a", "b", "c")


def images_named(names: list[str], labels: list[int]) -> Images:
    return Images(
        labels=np.array(labels, dtype=np.int64),
        read=lambda _: PIL.Image.new("RGB", (1, 1)),
        names=names,
        fingerprint="x",
    )


@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=3), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 9)
)
def test_every_image_is_on_one_side_and_every_class_on_both(counts: list[int], fraction: float, seed: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    images = images_named([f"{i}" for i in range(len(labels))], labels)
    train, test = hold_out(images, fraction=fraction, seed=seed, class_names=CLASSES)
    assert sorted([*train.names, *test.names]) == sorted(images.names)
    for label, count in enumerate(counts):
        n_test = int((test.labels == label).sum())
        assert 1 <= n_test <= count - 1
        assert abs(n_test - count * fraction) <= 1


def test_the_order_of_the_images_does_not_matter_and_the_seed_does() -> None:
    names, labels = [f"image {i}" for i in range(40)], [i % 2 for i in range(40)]
    split = [
        set(hold_out(images_named(n, y), fraction=0.25, seed=seed, class_names=CLASSES)[1].names)
        for n, y, seed in ((names, labels, 0), (names[::-1], labels[::-1], 0), (names, labels, 1))
    ]
    assert split[0] == split[1]
    assert split[0] != split[2]


def test_an_image_that_is_added_moves_at_most_one_other() -> None:
    names = [f"image {i}" for i in range(41)]
    before, after = (
        set(hold_out(images_named(names[:n], [0] * n), fraction=0.25, seed=0, class_names=CLASSES)[1].names)
        for n in (40, 41)
    )
    assert len(before - after) <= 1


def test_nothing_is_held_out_at_zero() -> None:
    train, test = hold_out(images_named(["x"], [0]), fraction=0, seed=0, class_names=CLASSES)
    assert (len(train), len(test)) == (1, 0)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0, float("nan")])
def test_a_part_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="at least 0 and below 1"):
        hold_out(images_named(["x", "y"], [0, 0]), fraction=fraction, seed=0, class_names=CLASSES)


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"class 'b'(.|\n)*lonely"):
        hold_out(images_named(["x", "y", "lonely"], [0, 0, 1]), fraction=0.5, seed=0, class_names=CLASSES)
