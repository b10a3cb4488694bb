"""The accuracy matrix: a[t, k] is the accuracy on the test images of task k after learning task t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorastream.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AccuracyMatrix:
    """Accuracies of a class-incremental run, row by row as the tasks were learnt; a value that never changes.

    Attributes:
        rows: `rows[t][k]` for k <= t, in [0, 1]; None exactly where task k has no test images.
        n_test: test images of each task, one number for each row; 0 where a task has none.

    Raises:
        UserError: row t has not t + 1 entries, an entry lies outside [0, 1] or is not a number, or a count is negative.
    """

    rows: tuple[tuple[float | None, ...], ...] = ()
    n_test: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_counts(self.n_test, len(self.rows))
        for t, row in enumerate(self.rows):
            _check_row(row, t, self.n_test)

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[float | None]], *, n_test: Sequence[int]) -> AccuracyMatrix:
        """Make a matrix of plain lists, as a record holds them; NaN stands for None."""
        return cls(rows=tuple(tuple(map(_none_for_nan, row)) for row in rows), n_test=tuple(n_test))

    def to_lists(self) -> list[list[float | None]]:
        """Return the ragged rows as plain lists, fit for JSON."""
        return [list(row) for row in self.rows]

    def with_row(self, row: Sequence[float | None], *, n_test: int) -> AccuracyMatrix:
        """Return the matrix after one more task.

        Args:
            row: accuracy on every task seen so far, the new one last, in [0, 1]; None or NaN for a task without test
                images.
            n_test: test images of the new task.

        Raises:
            UserError: the row does not fit.
        """
        return AccuracyMatrix(rows=(*self.rows, tuple(map(_none_for_nan, row))), n_test=(*self.n_test, n_test))

    @property
    def n_tasks(self) -> int:
        """Number of tasks learnt."""
        return len(self.rows)

    def array(self) -> NDArray[np.float64]:
        """Return the matrix as [n_tasks, n_tasks]; NaN above the diagonal and where a task has no test images."""
        array = np.full((self.n_tasks, self.n_tasks), np.nan)
        for t, row in enumerate(self.rows):
            array[t, : t + 1] = [np.nan if entry is None else entry for entry in row]
        return array


def _none_for_nan(entry: float | None) -> float | None:
    return None if entry is None or math.isnan(entry) else float(entry)


def _check_counts(n_test: tuple[int, ...], n_rows: int) -> None:
    if len(n_test) != n_rows or any(count < 0 for count in n_test):
        raise UserError(
            "accuracy matrix: n_test",
            expected=f"one count of test images >= 0 for each of the {n_rows} rows",
            got=f"{list(n_test)}",
            next_step="give the number of test images of every task, in order of arrival",
        )


def _check_row(row: tuple[float | None, ...], t: int, n_test: tuple[int, ...]) -> None:
    if len(row) != t + 1:
        raise UserError(
            f"accuracy matrix: row {t}",
            expected=f"{t + 1} accuracies, one for each task seen after task {t}",
            got=f"{len(row)} accuracies",
            next_step="evaluate on every task seen so far, and on no other",
        )
    for k, entry in enumerate(row):
        if (entry is None) != (n_test[k] == 0) or (entry is not None and not 0 <= entry <= 1):
            raise UserError(
                f"accuracy matrix: row {t}, task {k}",
                expected="None: the task has no test images" if n_test[k] == 0 else "an accuracy in [0, 1]",
                got=f"{entry!r}",
                next_step="give fractions, not percent; None only for a task without test images",
            )
