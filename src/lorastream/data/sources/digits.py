"""Scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels in 10 classes, nothing to download.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998); the part
that scikit-learn ships.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from lorastream.data.images import Dataset, Images, fingerprint_of

_TEST_FRACTION = 0.2
_DEEPEST_INK = 16  # the images' own scale is 0 to 16


def load() -> Dataset:
    """Return the digits, classes "0" to "9", in a fixed stratified split: 1,437 to learn from and 360 to test on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()
    digits, labels = np.asarray(bunch.data), np.asarray(bunch.target, dtype=np.int64)
    pixels = np.rint(digits.reshape(-1, 8, 8) * (255 / _DEEPEST_INK)).astype(np.uint8)
    positions = np.arange(len(labels))
    train, test = train_test_split(positions, test_size=_TEST_FRACTION, random_state=0, stratify=labels)
    return Dataset(
        name="digits",
        class_names=tuple(str(digit) for digit in range(10)),
        train=_images(pixels, labels, np.sort(train)),
        test=_images(pixels, labels, np.sort(test)),
    )


def _images(pixels: NDArray[np.uint8], labels: NDArray[np.int64], positions: NDArray[np.int64]) -> Images:
    return Images(
        labels=labels[positions],
        read=lambda i: PIL.Image.fromarray(pixels[positions[i]]).convert("RGB"),
        names=[f"digits[{position}]" for position in positions],
        fingerprint=fingerprint_of("digits", pixels[positions]),
    )
