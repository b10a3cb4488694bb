"""Features of images by class, and what must hold of them before they are summed up."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lorastream.data.task import Batch
from lorastream.errors import DataError


def features_by_class(passes: Iterable[tuple[Batch, Tensor]], classes: range) -> list[Tensor]:
    """Sort the features of one pass by class.

    Args:
        passes: batches, each with its features `[n, d]`, such as `model.passes` gives.
        classes: the labels that are expected.

    Returns:
        For each class `[its images, d]` on the CPU.

    Raises:
        DataError: a class has no images.
    """
    pairs = [(batch.labels.cpu(), features.detach().cpu()) for batch, features in passes]
    labels, features = torch.cat([own for own, _ in pairs]), torch.cat([own for _, own in pairs])
    found = [features[labels == label] for label in classes]
    empty = [label for label, own in zip(classes, found, strict=True) if not len(own)]
    if empty:
        raise DataError(
            f"class statistics, class {empty[0]}",
            expected="at least one training image of every class of the task",
            got="none",
            next_step="leave the class out of the stream, or give it images",
        )
    return found


def check_follows(first_class: int, described: int) -> None:
    """Refuse to describe classes from `first_class` on where fewer came before.

    Raises:
        DataError: so it is.
    """
    if first_class > described:
        raise DataError(
            "class statistics",
            expected=f"statistics of the {first_class} classes that came before",
            got=f"of {described}",
            next_step="set training.alignment from the first task on: no image of older classes is kept",
        )


def without(rows: Tensor, index: int) -> Tensor:
    """Return the rows but one, as a new tensor: what was handed out for saving does not change."""
    return torch.cat([rows[:index], rows[index + 1 :]])


def finite(label: int, features: Tensor) -> Tensor:
    """Return the features of a class.

    Raises:
        DataError: one is NaN or infinite.
    """
    if not torch.isfinite(features).all():
        raise DataError(
            f"class statistics, class {label}",
            expected="finite features",
            got="NaN or infinity",
            next_step="look at the images of that class, or use training.precision=fp32",
        )
    return features
