"""Figures about single classes, from integer counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    labels: Sequence[int] | NDArray[np.int64], predictions: Sequence[int] | NDArray[np.int64], *, n_classes: int
) -> NDArray[np.int64]:
    """Count how often class i was taken for class j.

    Args:
        labels: true class of every image, 0 to n_classes - 1.
        predictions: predicted class of the same images.
        n_classes: number of classes.

    Returns:
        Integer counts [n_classes, n_classes]; rows are true classes.
    """
    pairs = np.asarray(labels, dtype=np.int64) * n_classes + np.asarray(predictions, dtype=np.int64)
    return np.bincount(pairs, minlength=n_classes * n_classes).reshape(n_classes, n_classes).astype(np.int64)


def between_groups(confusion: NDArray[np.int64], groups: Sequence[range]) -> NDArray[np.int64]:
    """Add up the counts of classes by groups of neighbouring classes, such as tasks.

    Args:
        confusion: integer counts [n_classes, n_classes]; rows are true classes.
        groups: ranges of classes that do not overlap.

    Returns:
        Integer counts [n_groups, n_groups]: images by the group of the true class (row) and of the predicted one.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    by_row = np.stack([counts[group.start : group.stop].sum(axis=0) for group in groups])
    return np.stack([by_row[:, group.start : group.stop].sum(axis=1) for group in groups], axis=1)


def most_confused(confusion: NDArray[np.int64], *, limit: int) -> list[tuple[int, int, int]]:
    """Return true class, predicted class and images of the pairs that were confused most often, the worst first.

    Args:
        confusion: integer counts [n_classes, n_classes]; rows are true classes.
        limit: how many pairs at most; pairs that never occurred are left out.
    """
    wrong = np.array(confusion, dtype=np.int64)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [(int(true), int(taken), int(wrong[true, taken])) for true, taken in pairs if wrong[true, taken]]


def per_class_accuracy(confusion: NDArray[np.int64]) -> list[float | None]:
    """Return the accuracy of every class, in [0, 1]; None for a class without test images."""
    return [
        float(row[i]) / int(row.sum()) if row.sum() else None
        for i, row in enumerate(np.asarray(confusion, dtype=np.int64))
    ]
