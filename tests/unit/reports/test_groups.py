"""Runs are taken together where they differ by their seed alone; the spread is the sample standard deviation."""

from __future__ import annotations

from typing import Any

import pytest

from lorastream.reports.groups import Figure, group, training_seconds
from lorastream.runs import RunRecord


def record(seed: int, method: str = "sd_lora", *, lr: float = 0.1, **changes: Any) -> RunRecord:
    recipe = {"name": "digits", "seed": seed, "method": {"name": method}, "training": {"lr": lr}}
    return RunRecord(**{"recipe": recipe, "seed": seed, "status": "finished", **changes})


def test_seeds_of_the_same_settings_are_one_group() -> None:
    groups = group([record(0), record(0, "prototypes"), record(1), record(2, lr=0.2)])
    assert [(entry.method, entry.seeds) for entry in groups] == [
        ("sd_lora", [0, 1]),
        ("prototypes", [0]),
        ("sd_lora", [2]),
    ]


def test_an_unfinished_run_is_not_averaged_with_finished_ones_and_says_so() -> None:
    groups = group([record(0), record(1, status="failed"), record(2, status="interrupted")])
    assert [entry.label for entry in groups] == ["sd_lora", "sd_lora (failed, interrupted)"]


@pytest.mark.parametrize(
    ("values", "figure"),
    [
        ([1.0, 2.0, 3.0], Figure(mean=2.0, deviation=1.0)),
        ([1.0, None], Figure(mean=1.0, deviation=None)),
        ([None], Figure(mean=None, deviation=None)),
    ],
)
def test_mean_and_deviation(values: list[float | None], figure: Figure) -> None:
    assert Figure.of(values) == figure


def test_training_time_is_the_sum_over_tasks() -> None:
    assert training_seconds(record(0, seconds_per_task=(1.0, None, 2.0))) == 3.0
    assert training_seconds(record(0)) is None
