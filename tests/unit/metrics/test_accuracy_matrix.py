"""An accuracy matrix is ragged, holds fractions, and says None exactly where a task has no test images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.errors import UserError
from lorastream.metrics import AccuracyMatrix


@st.composite
def matrices(draw: st.DrawFn, *, min_tasks: int = 0, empty: bool = True) -> AccuracyMatrix:
    """Any valid matrix of up to six tasks."""
    n_test = draw(st.lists(st.integers(0 if empty else 1, 50), min_size=min_tasks, max_size=6))
    matrix = AccuracyMatrix()
    for t, n in enumerate(n_test):
        row = [draw(st.floats(0, 1)) if n_test[k] else None for k in range(t + 1)]
        matrix = matrix.with_row(row, n_test=n)
    return matrix


@given(matrices())
def test_lists_there_and_back(matrix: AccuracyMatrix) -> None:
    assert AccuracyMatrix.from_lists(matrix.to_lists(), n_test=matrix.n_test) == matrix


@given(matrices())
def test_array_holds_the_rows_and_nan_elsewhere(matrix: AccuracyMatrix) -> None:
    array = matrix.array()
    assert array.shape == (matrix.n_tasks, matrix.n_tasks)
    for t, row in enumerate(matrix.rows):
        assert all(np.isnan(array[t, k]) if entry is None else array[t, k] == entry for k, entry in enumerate(row))
        assert np.isnan(array[t, t + 1 :]).all()


def test_nan_stands_for_none() -> None:
    assert AccuracyMatrix().with_row([float("nan")], n_test=0).rows == ((None,),)


@pytest.mark.parametrize(
    ("rows", "n_test", "where"),
    [
        ([[0.5, 0.5]], [3], "row 0"),
        ([[0.5], [0.5]], [3, 3], "row 1"),
        ([[50.0]], [3], "row 0, task 0"),
        ([[-0.1]], [3], "row 0, task 0"),
        ([[None]], [3], "row 0, task 0"),
        ([[0.5]], [0], "row 0, task 0"),
        ([[float("inf")]], [3], "row 0, task 0"),
        ([[0.5]], [], "n_test"),
        ([[0.5]], [-1], "n_test"),
    ],
)
def test_what_does_not_fit_is_named(rows: list[list[float | None]], n_test: list[int], where: str) -> None:
    with pytest.raises(UserError) as caught:
        AccuracyMatrix.from_lists(rows, n_test=n_test)
    assert caught.value.faults[0].where == f"accuracy matrix: {where}"
