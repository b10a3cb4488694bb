"""Made-up coloured patterns that a linear probe can tell apart: for tests and for trying a recipe out in seconds."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from pydantic import Field

from lorastream.data.images import Dataset, Images, fingerprint_of
from lorastream.randomness import Randomness

_COARSE = 4  # a class is a field of 4 x 4 colours
_NOISE = 30.0  # deviation of the noise, in grey levels of 255
_LIGHT = 25.0  # an image is lighter or darker as a whole by up to so many grey levels


def load(
    *,
    n_classes: Annotated[int, Field(ge=1)] = 10,
    images_per_class: Annotated[int, Field(ge=1)] = 20,
    test_images_per_class: Annotated[int, Field(ge=0)] = 10,
    size: Annotated[int, Field(ge=4)] = 32,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> Dataset:
    """Return classes `pattern 0`, `pattern 1`, ...: fields of colours, each image with its own noise and light.

    Args:
        n_classes: at least 1.
        images_per_class: to learn from, at least 1.
        test_images_per_class: to test on, may be 0.
        size: side of the images, in pixels, at least 4.
        seed: another seed gives other patterns and other noise.
    """
    return Dataset(
        name="synthetic",
        class_names=tuple(f"pattern {label}" for label in range(n_classes)),
        train=_images("train", n_classes, images_per_class, size, seed),
        test=_images("test", n_classes, test_images_per_class, size, seed),
    )


def _images(role: str, n_classes: int, per_class: int, size: int, seed: int) -> Images:
    labels = np.repeat(np.arange(n_classes), per_class)
    return Images(
        labels=labels,
        read=lambda i: PIL.Image.fromarray(_pixels(role, int(labels[i]), i, size, Randomness(seed))),
        names=[f"synthetic[{role}, {i}]" for i in range(len(labels))],
        fingerprint=fingerprint_of(f"synthetic 1 {role} {n_classes} {per_class} {size} {seed}"),
    )


def _pixels(role: str, label: int, index: int, size: int, randomness: Randomness) -> NDArray[np.uint8]:
    colours = randomness.numpy("synthetic pattern", label).uniform(40, 215, (_COARSE, _COARSE, 3))
    cell = np.arange(size) * _COARSE // size
    own = randomness.numpy("synthetic image", role, index)
    values = colours[cell][:, cell] + own.normal(0, _NOISE, (size, size, 3)) + own.uniform(-_LIGHT, _LIGHT)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
