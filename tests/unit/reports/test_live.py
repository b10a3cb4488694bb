"""A frame says where the run stands, what is left, and when there has been no news for too long; it fits its place."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lorastream.reports.live import bar, frame, is_silent, seconds_left, sparkline
from lorastream.runs.record import EpochResult, RunRecord, TaskResult

METHOD = {"name": "small", "method": {"name": "sd_lora"}}


def _run(
    learnt: int, planned: int = 4, *, seconds: float | None = 30.0, loss: float = 1.0, **changes: Any
) -> RunRecord:
    record = RunRecord(recipe=METHOD, tasks=tuple((f"class {t}",) for t in range(planned)))
    for t in range(learnt):
        record = record.with_epoch(EpochResult(task=t, epoch=0, loss=loss / (t + 1)))
        row = (0.25,) * t + (0.75,)
        record = record.with_task(
            TaskResult(
                classes=(f"class {t}",), n_train=4, n_test=4, accuracy=row, seconds=seconds, evaluation_seconds=10
            )
        )
    return record.model_copy(update=changes)


def _shown(
    record: RunRecord, *, age: float = 5.0, width: int = 80, height: int = 40, trouble: str | None = None
) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(frame(record, age=age, width=width, height=height, trouble=trouble))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_says_where_the_run_stands() -> None:
    shown = _shown(_run(2))
    assert shown.startswith("small, sd_lora, seed 0: running\n")
    assert "2 of 4 tasks learnt, about 1.2 min left" in shown  # 2 x 40 s - 5 s
    assert "1 ██████                    25.0          75.0" in shown
    assert "average accuracy 75.0 █▁ 50.0 %" in shown
    assert "loss by epoch    1 █▁ 0.5" in shown
    assert shown.endswith("Last news 5.0 s ago.\n")


def test_time_left_is_what_the_last_tasks_took() -> None:
    assert seconds_left(_run(2), age=5) == 75
    assert seconds_left(_run(2), age=500) == 0
    assert seconds_left(_run(0), age=5) is None
    assert seconds_left(_run(2, seconds=None), age=5) is None
    assert seconds_left(_run(2, status="failed"), age=5) is None


def test_silence_is_told_after_three_of_the_longest_tasks() -> None:
    assert not is_silent(_run(2), age=119)
    assert is_silent(_run(2), age=121)
    assert not is_silent(_run(0), age=599)
    assert is_silent(_run(0), age=601)
    assert not is_silent(_run(4, status="finished"), age=1e6)
    told = " ".join(_shown(_run(2), age=720).split())
    assert "No news for 12 min, and a task took 40 s at most: its process may hang or be gone." in told
    assert "left" not in told, "nobody knows how much is left"
    assert "not even the first task is learnt" in " ".join(_shown(_run(0), age=720).split())


def test_an_end_and_its_reason_are_shown() -> None:
    failed = _run(1).ended("failed", failure="task 2:\n  a loss of nan")
    assert "failed\ntask 2: a loss of nan\n" in _shown(failed)
    assert f"Ended {failed.finished}." in _shown(failed)
    assert "The record cannot be read just now: a torn file" in _shown(_run(1), trouble="a torn file")


@pytest.mark.parametrize("tasks", [0, 1, 50])
@pytest.mark.parametrize(("width", "height"), [(40, 13), (80, 24), (200, 60)])
def test_it_fits(tasks: int, width: int, height: int) -> None:
    lines = _shown(_run(tasks, max(tasks, 3)), width=width, height=height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    if tasks == 50 and height < 50:
        assert sum(line.lstrip().startswith("1 to ") for line in lines) == 1, "the older ones in one line"
        assert any(line.lstrip().startswith("50 ") for line in lines)


def test_accuracies_and_losses_that_are_not_there_leave_a_gap() -> None:
    record = RunRecord(recipe=METHOD).with_epoch(EpochResult(task=0, epoch=0, loss=None))
    record = record.with_task(TaskResult(classes=("a",), n_train=4, n_test=0, accuracy=(None,)))
    assert "average accuracy –" in _shown(record)  # noqa: RUF001
    assert sparkline([1.0, None, 2.0], width=9) == "▁·█"
    assert sparkline([None], width=9) == ""


@given(st.lists(st.none() | st.floats(-1e3, 1e3), max_size=60), st.integers(1, 30))
def test_a_sparkline_keeps_to_its_width(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width=width)) <= width


@given(st.floats(0, 1), st.integers(1, 30))
def test_a_bar_is_as_long_as_its_fraction(fraction: float, width: int) -> None:
    shown = bar(fraction, width=width)
    assert len(shown) == width
    assert shown.count("█") == int(round(8 * width * fraction) / 8)
