"""Markdown and JSON say what the records say; JSON as fractions, Markdown as percent."""

from __future__ import annotations

import json

from lorastream.reports import as_json, markdown
from lorastream.runs import RunRecord, TaskResult


def record(seed: int, accuracy: float, *, method: str = "sd_lora") -> RunRecord:
    recipe = {"name": "digits", "seed": seed, "method": {"name": method}}
    result = TaskResult(classes=("a",), n_train=8, n_test=10, accuracy=(accuracy,), seconds=2.0, stored_bytes=10)
    return RunRecord(recipe=recipe, seed=seed, status="finished").with_task(result)


def test_json_holds_means_and_deviations_as_fractions() -> None:
    (entry,) = json.loads(as_json([record(0, 0.25), record(1, 0.75)]))
    assert (entry["recipe"], entry["method"], entry["tasks"]) == ("digits", "sd_lora", 1)
    assert [run["seed"] for run in entry["runs"]] == [0, 1]
    assert entry["average_accuracy"] == {"mean": 0.5, "standard_deviation": 0.125**0.5}
    assert entry["forgetting"] == {"mean": None, "standard_deviation": None}
    assert entry["training_seconds"] == {"mean": 2.0, "standard_deviation": 0.0}
    assert entry["stored_bytes"]["mean"] == 10


def test_json_of_nothing() -> None:
    assert json.loads(as_json([])) == []


def test_markdown_tables_are_rectangular_and_hold_the_figures() -> None:
    text = markdown([record(0, 0.25), record(1, 0.75), record(0, 0.5, method="a|b")])
    closing, summary, *matrices = text.strip().split("\n\n")
    assert closing == "After one task: sd_lora 50.0 ± 35.4 % (two seeds), a|b 50.0 %."
    for table in (summary, *matrices):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "| digits | sd_lora | 0, 1 | 50.0 ± 35.4 | 50.0 ± 35.4 |" in summary
    assert len(matrices) == 3
    assert matrices[0].splitlines()[-1] == "| after task 1 | 25.0 |"
