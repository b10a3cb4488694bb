"""The numbers read off an accuracy matrix; every name says what is weighted, and how.

a[t, k] is the accuracy on task k after learning task t, T the last task. A task without test images takes part in
nothing. Where there is nothing to average the answer is None: a stream of one task has no forgetting, and 0.0 would
claim that it forgot nothing.

The published code bases (PILOT, SD-LoRA, InfLoRA) print the averages weighted by image; the papers define them by task.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorastream.metrics.accuracy_matrix import AccuracyMatrix


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Every summary of one accuracy matrix, as fractions; None where it is not defined.

    Attributes:
        average_accuracy: see the function of the same name, as for all the others.
    """

    average_accuracy: float | None
    average_accuracy_by_image: float | None
    average_incremental_accuracy: float | None
    average_incremental_accuracy_by_image: float | None
    forgetting: float | None
    forgetting_pilot: float | None
    backward_transfer: float | None


def summarise(matrix: AccuracyMatrix) -> Summary:
    """Compute every summary of the matrix."""
    return Summary(
        average_accuracy=average_accuracy(matrix),
        average_accuracy_by_image=average_accuracy_by_image(matrix),
        average_incremental_accuracy=average_incremental_accuracy(matrix),
        average_incremental_accuracy_by_image=average_incremental_accuracy_by_image(matrix),
        forgetting=forgetting(matrix),
        forgetting_pilot=forgetting_pilot(matrix),
        backward_transfer=backward_transfer(matrix),
    )


def accuracy_curve(matrix: AccuracyMatrix) -> list[float | None]:
    """Return the mean over tasks of each row: the average accuracy after each task."""
    return [_mean(_defined(row)) for row in matrix.array()]


def accuracy_curve_by_image(matrix: AccuracyMatrix) -> list[float | None]:
    """Return each row's mean weighted by the tasks' test images: correct over all, as the published codes print it."""
    n_test = np.array(matrix.n_test, dtype=np.float64)
    array = matrix.array()
    return [_weighted_mean(array[t, : t + 1], n_test[: t + 1]) for t in range(matrix.n_tasks)]


def average_accuracy(matrix: AccuracyMatrix) -> float | None:
    """Return the mean of the last row, every task weighing the same (SD-LoRA's Acc in words, InfLoRA's ACC_T)."""
    curve = accuracy_curve(matrix)
    return curve[-1] if curve else None


def average_accuracy_by_image(matrix: AccuracyMatrix) -> float | None:
    """Return the mean of the last row, every test image weighing the same (what the published codes print)."""
    curve = accuracy_curve_by_image(matrix)
    return curve[-1] if curve else None


def average_incremental_accuracy(matrix: AccuracyMatrix) -> float | None:
    """Return the mean over t of the mean of row t ("average anytime accuracy" in SD-LoRA), by task."""
    return _mean(value for value in accuracy_curve(matrix) if value is not None)


def average_incremental_accuracy_by_image(matrix: AccuracyMatrix) -> float | None:
    """Return the mean over t of row t's mean by image (PILOT prints it as "Average Accuracy (CNN)")."""
    return _mean(value for value in accuracy_curve_by_image(matrix) if value is not None)


def forgetting(matrix: AccuracyMatrix) -> float | None:
    """Return the mean over k < T of max over t < T of a[t, k], minus a[T, k] (Chaudhry et al., ECCV 2018, eq. 3).

    The maximum leaves the last row out, so a term is negative where learning the last task helped an older one.
    None with fewer than two tasks.
    """
    return _mean(value for value in forgetting_by_task(matrix) if value is not None)


def forgetting_by_task(matrix: AccuracyMatrix) -> list[float | None]:
    """Return the terms of `forgetting`, one for each task but the last; None for a task without test images."""
    if matrix.n_tasks < 2:  # noqa: PLR2004 (nothing can be forgotten before the second)
        return []
    array = matrix.array()
    return _none_for_nan(_best(array[:-1, :-1]) - array[-1, :-1])


def forgetting_pilot(matrix: AccuracyMatrix) -> float | None:
    """Return forgetting as LAMDA-PILOT computes it: the maximum runs over the last row too, so no term is negative.

    Never less than `forgetting`, and equal to it where no older task was at its best at the end. None with fewer than
    two tasks.
    """
    array = matrix.array()
    return _mean(_defined(_best(array[:, :-1]) - array[-1, :-1])) if matrix.n_tasks > 1 else None


def backward_transfer(matrix: AccuracyMatrix) -> float | None:
    """Return the mean over k < T of a[T, k] - a[k, k] (Lopez-Paz & Ranzato, NeurIPS 2017, eq. 3).

    Never less than minus `forgetting`, and equal to it where every task was at its best when just learnt. None with
    fewer than two tasks.
    """
    array = matrix.array()
    return _mean(_defined(array[-1, :-1] - np.diagonal(array)[:-1])) if matrix.n_tasks > 1 else None


def _best(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best accuracy of each column; NaN where a column has none, without a warning."""
    best = np.where(np.isnan(block), -np.inf, block).max(axis=0)
    return np.where(np.isinf(best), np.nan, best)


def _none_for_nan(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _mean(values: Iterable[float]) -> float | None:
    present = list(values)
    return float(np.mean(present)) if present else None


def _weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float | None:
    present = ~np.isnan(values)
    return float(np.average(values[present], weights=weights[present])) if present.any() else None
