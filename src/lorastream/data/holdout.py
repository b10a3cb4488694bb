"""Hold out a stated part of the images of every class for testing."""

from __future__ import annotations

import numpy as np

from lorastream.data.images import Images
from lorastream.errors import DataError
from lorastream.randomness import Randomness


def hold_out(
    images: Images, *, fraction: float, seed: int, class_names: tuple[str, ...], spare_singles: bool = False
) -> tuple[Images, Images]:
    """Split into training and test images, stratified by class.

    Which images are held out follows from the seed and each image's name, not from the order they come in; so an image
    that is added later moves few others across.

    Args:
        images: all images of the source.
        fraction: of each class, at least 0 and below 1; above 0 every class gives at least one image and keeps one.
        seed: another seed holds out other images.
        class_names: for messages.
        spare_singles: hold nothing out of a class of one image, in place of refusing it.

    Returns:
        Training images and test images, each in the order of `images`.

    Raises:
        DataError: the fraction is out of range, or a class has a single image and is not spared.
    """
    if not 0 <= fraction < 1:
        raise DataError(
            "data.test_fraction",
            expected="at least 0 and below 1",
            got=str(fraction),
            next_step="set data.test_fraction=0.2",
        )
    randomness = Randomness(seed)
    held_out = np.zeros(len(images), dtype=bool)
    for label in np.unique(images.labels) if fraction else ():
        members = np.flatnonzero(images.labels == label).tolist()
        if len(members) == 1 and spare_singles:
            continue
        if len(members) == 1:
            raise DataError(
                f"class {class_names[label]!r}",
                expected="at least 2 images, to train on one and test on another",
                got=f"1 image: {images.names[members[0]]}",
                next_step="add images to the class, take the class out, or set data.test_fraction=0",
            )
        n_test = min(max(round(len(members) * fraction), 1), len(members) - 1)
        by_lot = sorted(members, key=lambda member: randomness.number("hold out", images.names[member]))
        held_out[by_lot[:n_test]] = True
    return images.subset(np.flatnonzero(~held_out)), images.subset(np.flatnonzero(held_out))
