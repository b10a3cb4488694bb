"""The summaries of an accuracy matrix: worked by hand, and what must hold between them on any matrix.

For every k < T let c = max over t < T of a[t, k] - a[T, k] (Chaudhry), p = the same with t <= T (PILOT) and
b = a[T, k] - a[k, k]. Then p = max(c, 0) >= c >= -b, with c = -b where the best is the diagonal.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.metrics import AccuracyMatrix, summaries, summarise

ANY_COUNT = st.integers(0, 50)
HAND = AccuracyMatrix.from_lists([[0.9], [0.6, 0.8], [0.7, 0.9, 0.5]], n_test=[10, 30, 60])


@st.composite
def matrices(draw: st.DrawFn, *, min_tasks: int = 0, counts: st.SearchStrategy[int] = ANY_COUNT) -> AccuracyMatrix:
    """Any valid matrix of up to six tasks."""
    n_test = draw(st.lists(counts, min_size=min_tasks, max_size=6))
    rows = [[draw(st.floats(0, 1)) if n_test[k] else None for k in range(t + 1)] for t in range(len(n_test))]
    return AccuracyMatrix.from_lists(rows, n_test=n_test)


def test_by_hand() -> None:
    assert asdict(summarise(HAND)) == pytest.approx(
        {
            "average_accuracy": 0.7,  # (0.7 + 0.9 + 0.5) / 3
            "average_accuracy_by_image": 0.64,  # (7 + 27 + 30) / 100
            "average_incremental_accuracy": (0.9 + 0.7 + 0.7) / 3,
            "average_incremental_accuracy_by_image": (0.9 + 30 / 40 + 0.64) / 3,
            "forgetting": (0.2 - 0.1) / 2,  # 0.9 - 0.7 and 0.8 - 0.9: negative, the last task helped
            "forgetting_pilot": (0.2 + 0.0) / 2,
            "backward_transfer": (-0.2 + 0.1) / 2,
        }
    )


def test_an_earlier_best_off_the_diagonal_counts() -> None:
    """Forgetting starts at the best, 0.8 after task 1; backward transfer at the 0.5 just after learning."""
    matrix = AccuracyMatrix.from_lists([[0.5], [0.8, 1.0], [0.6, 1.0, 1.0]], n_test=[1, 1, 1])
    assert summaries.forgetting(matrix) == pytest.approx(0.1)
    assert summaries.backward_transfer(matrix) == pytest.approx(0.05)


@given(matrices(min_tasks=2, counts=st.integers(1, 50)))
def test_order_of_the_three_measures_of_change(matrix: AccuracyMatrix) -> None:
    chaudhry, pilot = summaries.forgetting(matrix), summaries.forgetting_pilot(matrix)
    transfer = summaries.backward_transfer(matrix)
    assert chaudhry is not None
    assert pilot is not None
    assert transfer is not None
    assert pilot >= max(chaudhry, 0) - 1e-12
    assert chaudhry >= -transfer - 1e-12


@given(matrices(min_tasks=2))
def test_transfer_is_minus_forgetting_where_the_best_is_the_diagonal(matrix: AccuracyMatrix) -> None:
    """Sinking columns: every accuracy is capped by the one before it."""
    rows = matrix.to_lists()
    for t in range(1, len(rows)):
        rows[t] = [
            entry if entry is None or k == t else min(entry, rows[t - 1][k] or 0.0) for k, entry in enumerate(rows[t])
        ]
    sinking = AccuracyMatrix.from_lists(rows, n_test=matrix.n_test)
    forgetting, transfer = summaries.forgetting(sinking), summaries.backward_transfer(sinking)
    assert (forgetting is None) == (transfer is None)
    assert forgetting is None or transfer is None or forgetting == pytest.approx(-transfer, abs=1e-12)
    assert summaries.forgetting_pilot(sinking) == (None if forgetting is None else pytest.approx(forgetting, abs=1e-12))


@given(matrices())
def test_averages_stay_within_what_they_average(matrix: AccuracyMatrix) -> None:
    entries = [entry for row in matrix.rows for entry in row if entry is not None]
    for value in (
        summaries.average_accuracy(matrix),
        summaries.average_accuracy_by_image(matrix),
        summaries.average_incremental_accuracy(matrix),
        summaries.average_incremental_accuracy_by_image(matrix),
    ):
        assert value is None or min(entries) - 1e-12 <= value <= max(entries) + 1e-12


@given(matrices(counts=st.just(7)))
def test_equal_tasks_weigh_alike(matrix: AccuracyMatrix) -> None:
    by_task, by_image = summaries.accuracy_curve(matrix), summaries.accuracy_curve_by_image(matrix)
    assert by_image == pytest.approx(by_task, abs=1e-12)


@given(matrices(min_tasks=1, counts=st.integers(1, 50)), st.integers(2, 9))
def test_weighting_by_image_does_not_depend_on_the_unit(matrix: AccuracyMatrix, times: int) -> None:
    more = AccuracyMatrix.from_lists(matrix.to_lists(), n_test=[times * n for n in matrix.n_test])
    assert summaries.accuracy_curve_by_image(more) == pytest.approx(
        summaries.accuracy_curve_by_image(matrix), abs=1e-12
    )


def test_no_task_has_no_summary() -> None:
    assert set(asdict(summarise(AccuracyMatrix())).values()) == {None}


def test_one_task_has_an_accuracy_but_no_forgetting() -> None:
    """0.0 would claim that it forgot nothing."""
    summary = summarise(AccuracyMatrix.from_lists([[0.5]], n_test=[4]))
    assert (summary.average_accuracy, summary.average_incremental_accuracy_by_image) == (0.5, 0.5)
    assert (summary.forgetting, summary.forgetting_pilot, summary.backward_transfer) == (None, None, None)


def test_a_task_without_test_images_takes_part_in_nothing() -> None:
    matrix = AccuracyMatrix.from_lists([[None], [None, 0.8], [None, 0.6, 1.0]], n_test=[0, 10, 10])
    summary = summarise(matrix)
    assert summary.average_accuracy == pytest.approx(0.8)
    assert summary.average_incremental_accuracy == pytest.approx(0.8)
    assert summary.forgetting == pytest.approx(0.2)
    assert summary.backward_transfer == pytest.approx(-0.2)


def test_forgetting_by_task_by_hand() -> None:
    assert summaries.forgetting_by_task(HAND) == pytest.approx([0.2, -0.1])
    assert summaries.forgetting_by_task(AccuracyMatrix.from_lists([[0.9]], n_test=[1])) == []
    untested = AccuracyMatrix.from_lists([[None], [None, 0.8], [None, 0.5, 1.0]], n_test=[0, 1, 1])
    assert summaries.forgetting_by_task(untested) == [None, pytest.approx(0.3)]
