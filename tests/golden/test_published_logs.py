"""The metrics give the figures that the SD-LoRA authors' logs hold, and those that the logs should have printed.

`sd_lora_logs.json` holds the accuracy matrices of the five released logs, in percent with the two decimals logged, and
says where each comes from. Golden: forgetting in PILOT's form with the tasks in their true order (10.41, 5.17, 6.46,
5.63, 6.41), backward transfer, the average by task, the logged top-1 curves (by image) and their means. The faulty
figures that the logs print come out too, when the columns are put back into the order of their text labels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorastream.metrics import AccuracyMatrix, summaries
from lorastream.randomness import class_order

LOGS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("sd_lora_logs.json").read_text("utf-8"))["logs"]
ROUNDING = 0.00005 + 1e-9  # figures are given in percent with two decimals


def matrix_of(name: str) -> AccuracyMatrix:
    log = LOGS[name]
    rows = [[entry / 100 for entry in row] for row in log["accuracy_matrix"]]
    return AccuracyMatrix.from_lists(rows, n_test=log["n_test"] or [1] * len(rows))


@pytest.mark.parametrize("name", LOGS)
def test_forgetting_of_the_correctly_ordered_matrix(name: str) -> None:
    assert summaries.forgetting_pilot(matrix_of(name)) == pytest.approx(
        LOGS[name]["forgetting_pilot"] / 100, abs=ROUNDING
    )


@pytest.mark.parametrize("name", LOGS)
def test_both_forms_of_forgetting_agree_on_the_logs(name: str) -> None:
    matrix = matrix_of(name)
    assert summaries.forgetting(matrix) == pytest.approx(summaries.forgetting_pilot(matrix), abs=1e-12)


@pytest.mark.parametrize("name", LOGS)
def test_backward_transfer(name: str) -> None:
    got = summaries.backward_transfer(matrix_of(name))
    assert got == pytest.approx(LOGS[name]["backward_transfer"] / 100, abs=ROUNDING)


@pytest.mark.parametrize("name", LOGS)
def test_average_by_task(name: str) -> None:
    got = summaries.average_accuracy(matrix_of(name))
    assert got == pytest.approx(LOGS[name]["average_accuracy_by_task"] / 100, abs=ROUNDING)


@pytest.mark.parametrize("name", [name for name in LOGS if LOGS[name]["n_test"]])
def test_curve_by_image_is_the_logged_one(name: str) -> None:
    """Each entry was rounded to two decimals before it was averaged here, and once more in the log."""
    curve = summaries.accuracy_curve_by_image(matrix_of(name))
    assert curve == pytest.approx([entry / 100 for entry in LOGS[name]["top1_curve"]], abs=2 * ROUNDING)


@pytest.mark.parametrize(
    ("name", "published"), [("InR-T5", 83.00), ("InR-T20", 82.59), ("InR-T10", 79.80), ("InA", 68.77), ("C100", 92.05)]
)
def test_average_incremental_accuracy_is_the_mean_of_the_curve(name: str, published: float) -> None:
    """The mean of the logged curve is the published figure; from the matrix it follows where the counts are known."""
    assert np.mean(LOGS[name]["top1_curve"]) == pytest.approx(published, abs=0.00501)
    if LOGS[name]["n_test"]:
        got = summaries.average_incremental_accuracy_by_image(matrix_of(name))
        assert got == pytest.approx(published / 100, abs=2 * ROUNDING)


@pytest.mark.parametrize("name", LOGS)
def test_sorting_tasks_by_their_text_gives_what_the_logs_print(name: str) -> None:
    """The fault of the authors' trainer (spec 6.3): after more than 100 classes "100-119" stands before "20-39"."""
    log = LOGS[name]
    n_tasks = len(log["class_groups"])
    printed = np.zeros((n_tasks, n_tasks))
    for t, row in enumerate(log["accuracy_matrix"]):
        order = sorted(range(t + 1), key=lambda k: log["class_groups"][k])
        printed[: t + 1, t] = [row[k] for k in order]
    got = np.mean((printed.max(axis=1) - printed[:, -1])[:-1])
    assert got == pytest.approx(log["forgetting_as_printed"], abs=1e-9)
    assert (round(got, 2) == log["forgetting_pilot"]) == (log["class_groups"] == sorted(log["class_groups"]))


@pytest.mark.parametrize(
    ("seed", "n_classes", "first"),
    [(1994, 100, [72, 6, 33, 96]), (1995, 200, [146, 198, 169, 126]), (1996, 200, [92, 182, 15, 79])],
)
def test_class_orders_are_those_that_the_logs_print(seed: int, n_classes: int, first: list[int]) -> None:
    """C100.log, InR-T5.log, and InR-T20.log, which names seed 1995 but prints the order of 1996."""
    assert class_order(seed, n_classes)[:4] == first
