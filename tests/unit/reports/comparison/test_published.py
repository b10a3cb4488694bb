"""Figures of others keep their source, their weighting, and a mark where we did not run what they ran."""

from __future__ import annotations

from typing import Any

import pytest

from lorastream.recipes import catalogue
from lorastream.reports.comparison import compare
from lorastream.reports.comparison.columns import columns, footnotes
from lorastream.runs.record import RunRecord, TaskResult

RECIPE = "imagenet_r_n10_sd_lora"


def _ran(**training: Any) -> RunRecord:
    recipe = {
        "name": RECIPE,
        "data": {"source": "benchmark:imagenet_r"},
        "stream": {"tasks": 10},
        "method": {"name": "sd_lora"},
        "training": {"epochs": 20, "batch_size": 128, "lr": 0.5, **training},
    }
    record = RunRecord(recipe=recipe)
    for row, n_test in (((0.8,), 30), ((0.8, 0.6), 10)):
        record = record.with_task(TaskResult(classes=(str(row),), n_train=4, n_test=n_test, accuracy=row))
    return record.ended("finished")


def _cells(record: RunRecord) -> tuple[dict[str, str], list[str]]:
    (setting,) = compare([record]).settings
    return {column.heading: column.cell(setting.rows[0]) for column in columns(setting)}, footnotes(setting)


def test_published_stands_beside_ours_weighted_alike_with_its_source() -> None:
    cells, notes = _cells(_ran())
    paper = catalogue.published(RECIPE)["sd_lora"]["paper"]
    assert cells["published"] == f"{paper['average_accuracy']:.1f} ± 0.3 [1]" or cells["published"].endswith("[1]")
    # By image 0.75, by task 0.70: the published figure is by image, so ours is too. 75.0 - 77.34 = -2.34.
    assert cells["average accuracy"] == "70.0"
    assert cells["ours minus published"] == "−2.3"  # noqa: RUF001
    source = f"[1] {paper['source']}, 5 runs, ± standard error, weighted by image, confirmed."
    assert source in notes


def test_a_run_that_departs_from_the_protocol_is_marked() -> None:
    cells, notes = _cells(_ran(epochs=1))
    assert cells["published"].endswith("†")
    assert "† sd_lora was not run as published: training.epochs 1 instead of 20." in notes


@pytest.mark.parametrize("name", ["digits", "../escape", "no such recipe"])
def test_a_recipe_that_nobody_published_has_no_such_column(name: str) -> None:
    record = _ran().model_copy(update={"recipe": {**_ran().recipe, "name": name}})
    assert "published" not in _cells(record)[0]
