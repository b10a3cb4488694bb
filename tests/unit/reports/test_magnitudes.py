"""Magnitudes are averaged over seeds and projections, and stand beside those that the authors logged."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from lorastream.reports import have_magnitudes, magnitudes_markdown, magnitudes_table
from lorastream.runs import RunRecord, TaskResult


def record(seed: int, magnitudes: list[Any], *, tasks: int = 2, method: str = "sd_lora") -> RunRecord:
    made = RunRecord(recipe={"name": "digits", "seed": seed, "method": {"name": method}}, seed=seed, status="finished")
    for t in range(tasks):
        figures = {"magnitudes": magnitudes} if magnitudes else {}
        row = (0.5,) * (t + 1)
        made = made.with_task(TaskResult(classes=(f"{t}",), n_train=8, n_test=10, accuracy=row, figures=figures))
    return made


def test_the_mean_over_seeds() -> None:
    text = magnitudes_markdown([record(0, [1.0, 0.5]), record(1, [2.0, 0.25])])
    assert text.splitlines()[0] == "| magnitude of task | 1 | 2 |"
    assert text.splitlines()[2] == "| sd_lora, 2 seeds | 1.50 | 0.38 |"


def test_the_mean_over_projections() -> None:
    assert "| sd_lora, seed 3 | 2.00 | 0.50 |" in magnitudes_markdown([record(3, [[1.0, 0.4], [3.0, 0.6]])])


def test_the_authors_log_of_as_many_tasks_stands_below() -> None:
    text = magnitudes_markdown([record(0, [1.0] * 5, tasks=5)])
    assert "| authors' log, ImageNet-R, N = 5 | 1.80 | 1.33 | 1.18 | 1.08 | 1.47 |" in text
    assert "authors" not in magnitudes_markdown([record(0, [1.0] * 4, tasks=4)])


def test_runs_without_magnitudes_are_left_out() -> None:
    assert not have_magnitudes([record(0, [])])
    text = magnitudes_markdown([record(0, [], method="inf_lora"), record(0, [1.0, 1.0])])
    assert "inf_lora" not in text


def test_the_table_fits_eighty_columns() -> None:
    console = Console(width=80, record=True, file=None)
    with console.capture() as shown:
        console.print(magnitudes_table([record(0, [1.0] * 10, tasks=10)]))
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("0.72" in line for line in lines)
