"""Magnitudes fall where the median rank correlation with the task is at most -0.5; the newest is not counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lorastream.analyses.magnitudes import analyse, rank_correlation
from lorastream.analyses.options import Options
from lorastream.errors import MethodError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0], 1.0),
        ([3.0, 2.0, 1.0], -1.0),
        ([3.0, 1.0, 2.0], -0.5),  # ranks 3 1 2: 1 - 6 (4 + 1 + 1) / (3 · 8)
        ([2.0, 2.0, 1.0], -0.8660254),  # ranks 2.5 2.5 1
        ([1.0, 1.0, 1.0], 0.0),
    ],
)
def test_rank_correlation_worked_by_hand(values: list[float], expected: float) -> None:
    assert rank_correlation(values) == pytest.approx(expected)


def run_with(*last: list[float]) -> Any:
    """Return what an analysis reads of a run: a first task with one magnitude, and then these rows."""
    figures = [{"magnitudes": row} for row in ([0.8], *last)]
    return SimpleNamespace(record=SimpleNamespace(figures_per_task=figures, method="sd_lora"))


@pytest.mark.parametrize(
    ("rows", "holds"),
    [
        ([[3.0, 2.0, 1.0, 9.0]], True),
        ([[1.0, 2.0, 3.0, 0.0]], False),
        (
            [[1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, 4.0, 0.0], [5.0, 4.0, 3.0, 2.0, 1.0, 9.0]],
            False,
        ),  # by luck at the end
        ([[3.0, 2.0, 1.0]], None),
    ],
)
def test_the_verdict_is_the_median_over_the_tasks(rows: list[list[float]], *, holds: bool | None) -> None:
    found = analyse(run_with(*rows), Options())
    assert found.holds is holds
    assert found.paragraph.startswith(
        {True: "The claim holds", False: "The claim does not hold", None: "This run cannot tell"}[holds]
    )


def test_a_run_without_magnitudes_is_refused() -> None:
    run = SimpleNamespace(record=SimpleNamespace(figures_per_task=[{}, {}], method="prototypes"))
    with pytest.raises(MethodError, match="--methods sd_lora"):
        analyse(run, Options())  # pyright: ignore[reportArgumentType]
