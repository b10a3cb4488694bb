"""Streams at the edge: one task, one class, no test images, tasks of different sizes; worked by hand."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from lorastream.errors import UserError
from lorastream.metrics import AccuracyMatrix, summaries, summarise
from lorastream.metrics.counts import confusion_matrix, most_confused, per_class_accuracy
from lorastream.runs.record import RunRecord, TaskResult

OF_CHANGE = ("forgetting", "forgetting_pilot", "backward_transfer")


def test_one_task_of_one_class() -> None:
    summary = asdict(summarise(AccuracyMatrix.from_lists([[1.0]], n_test=[1])))
    assert {summary.pop(name) for name in OF_CHANGE} == {None}
    assert set(summary.values()) == {1.0}


def test_no_task_has_test_images() -> None:
    """Nothing is known of any task: nothing is said, rather than 0 or a division by it."""
    rows = [[None], [None, None], [None, None, None]]
    matrix = AccuracyMatrix.from_lists(rows, n_test=[0, 0, 0])
    assert set(asdict(summarise(matrix)).values()) == {None}
    assert summaries.accuracy_curve(matrix) == [None, None, None]
    assert summaries.forgetting_by_task(matrix) == [None, None]


def test_the_last_task_alone_has_test_images() -> None:
    matrix = AccuracyMatrix.from_lists([[None], [None, 0.25]], n_test=[0, 8])
    summary = summarise(matrix)
    assert (summary.average_accuracy, summary.average_incremental_accuracy) == (0.25, 0.25)
    assert (summary.forgetting, summary.backward_transfer) == (None, None)


def test_the_last_task_has_no_test_images() -> None:
    """Forgetting of the others is defined all the same."""
    summary = summarise(AccuracyMatrix.from_lists([[0.9], [0.6, None]], n_test=[10, 0]))
    assert summary.average_accuracy == pytest.approx(0.6)
    assert summary.average_incremental_accuracy == pytest.approx((0.9 + 0.6) / 2)
    assert (summary.forgetting, summary.backward_transfer) == (pytest.approx(0.3), pytest.approx(-0.3))


def test_tasks_of_different_sizes_weigh_by_task_or_by_image() -> None:
    """A task of one image, wrong, beside one of 99, right."""
    summary = summarise(AccuracyMatrix.from_lists([[1.0], [0.0, 1.0]], n_test=[1, 99]))
    assert summary.average_accuracy == pytest.approx(0.5)
    assert summary.average_accuracy_by_image == pytest.approx(0.99)
    assert summary.average_incremental_accuracy == pytest.approx(0.75)
    assert summary.average_incremental_accuracy_by_image == pytest.approx(0.995)
    assert summary.forgetting == 1.0, "forgetting weighs tasks alike, whatever their size"


@pytest.mark.parametrize(
    ("row", "n_test"), [([None], 4), ([0.5], 0), ([1.5], 4), ([-0.1], 4), ([0.5, 0.5], 4), ([], 4), ([0.5], -1)]
)
def test_a_row_that_does_not_fit_its_images_is_refused(row: list[float | None], n_test: int) -> None:
    with pytest.raises(UserError, match="accuracy matrix"):
        AccuracyMatrix.from_lists([row], n_test=[n_test])


def test_counts_of_one_class_and_of_none() -> None:
    alone = confusion_matrix([0, 0], [0, 0], n_classes=1)
    assert (alone.tolist(), per_class_accuracy(alone), most_confused(alone, limit=3)) == ([[2]], [1.0], [])
    unseen = confusion_matrix([], [], n_classes=2)
    assert (unseen.tolist(), per_class_accuracy(unseen)) == ([[0, 0], [0, 0]], [None, None])
    assert np.issubdtype(unseen.dtype, np.integer)


def test_a_record_keeps_tasks_of_different_sizes_and_one_without_test_images() -> None:
    record = RunRecord(recipe={})
    tasks = [(("a",), 3, (1.0,)), (("b", "c", "d"), 0, (0.5, None)), (("e", "f"), 7, (0.5, None, 1.0))]
    for classes, n_test, row in tasks:
        record = record.with_task(TaskResult(classes=classes, n_train=5, n_test=n_test, accuracy=row))
    again = RunRecord.model_validate(record.to_json())
    assert again == record
    assert (again.average_accuracy, again.forgetting) == (0.75, 0.5)
    assert again.average_accuracy_by_image == pytest.approx((0.5 * 3 + 7) / 10)


def test_a_record_of_more_rows_than_tasks_is_refused() -> None:
    record = RunRecord(recipe={}).with_task(TaskResult(classes=("a",), n_train=1, n_test=1, accuracy=(1.0,)))
    with pytest.raises(ValueError, match="tasks that were learnt"):
        RunRecord.model_validate({**record.to_json(), "tasks": []})
