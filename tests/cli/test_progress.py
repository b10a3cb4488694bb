"""A terminal shows bars that stay in their place and fit in 80 columns; a file gets lines that say the same."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from lorastream.cli import progress
from lorastream.cli.progress import Bars, Lines
from lorastream.recipes.load import load
from lorastream.training.events import EpochDone, Evaluating, Event, Preparing, StepDone, TaskLearnt, TaskStarted

TITLE = "sequential_lora, seed 1993 (run 12 of 15)"
EVENTS: list[Event] = [
    Preparing(done=1, total=50_000),
    Preparing(done=50_000, total=50_000),
    TaskStarted(task=0, class_names=("red fox", "日本 猫"), epochs=120, steps_per_epoch=40),
    StepDone(task=0, epoch=0, step=20, loss=12.3456, accuracy=0.5),
    EpochDone(task=0, epoch=119, loss=0.1, accuracy=1.0, lr=0.1),
    TaskLearnt(task=0, seconds=96.0),
    Evaluating(done=0, total=10_000),
    Evaluating(done=10_000, total=10_000),
    TaskStarted(task=1, class_names=tuple("abcdefgh") * 20, epochs=120, steps_per_epoch=40),
]
PICTURES = [
    ("decoding images, once", "task 1 of 20", "images", "1 of 50000"),
    ("decoding images, once", "task 1 of 20", "images", "50000 of 50000"),
    ("learning red fox, 日本 猫", "task 1 of 20", "epoch 1 of 120", ""),
    ("learning red fox, 日本 猫", "task 1 of 20", "epoch 1 of 120", "loss 12.346, accuracy 50.0 %"),
    ("learning red fox, 日本 猫", "task 1 of 20", "epoch 120 of 120", "loss 0.100, accuracy 100.0 %"),
    ("learning red fox, 日本 猫", "task 1 of 20", None, None),
    ("evaluating every class seen", "task 1 of 20", "images", "0 of 10000"),
    ("evaluating every class seen", "task 1 of 20", None, None),
    ("learning a, b, c, d, ... (160 classes)", "task 2 of 20", "epoch 1 of 120", ""),
]
"""After each event: what is going on, the first bar's label, the second bar's label and its figures."""


def _terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")


def _draw(bars: Bars) -> list[str]:
    """Return what stands on the terminal."""
    paper = _terminal()
    paper.print(bars.progress.get_renderable(), end="")
    file = paper.file
    assert isinstance(file, io.StringIO)
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()).splitlines()]


def test_bars_say_what_goes_on_and_nothing_moves() -> None:
    bars = Bars(TITLE, 20, _terminal())
    assert _draw(bars)[0] == f"{TITLE}: loading"
    columns: set[int] = set()
    for event, (doing, task, label, figures) in zip(EVENTS, PICTURES, strict=True):
        bars.listen(event)
        head, first, *second = _draw(bars)
        assert head == f"{TITLE}: {doing}"[:79] + "…" * (len(f"{TITLE}: {doing}") > 80)
        assert first.split("━")[0].rstrip() == task
        assert [line.split("━")[0].rstrip() for line in second] == ([] if label is None else [label])
        assert figures is None or figures in second[0]
        lines = [first, *second]
        columns |= {line.index("━") for line in lines} | {line.rindex("left") for line in lines}
        assert all(cell_len(line) <= 80 for line in [head, *lines])
    assert len(columns) == 2, "the bars and the times stand one below the other, always in the same place"


def test_tasks_advance_with_the_steps() -> None:
    bars = Bars(TITLE, 20, _terminal())
    done = []
    for event in EVENTS:
        bars.listen(event)
        done.append(bars.progress.tasks[0].completed)
    assert done == pytest.approx([0, 0, 0, 20 / 4800, 1, 1, 1, 1, 1])


def test_bars_leave_nothing_behind() -> None:
    console = _terminal()
    with Bars(TITLE, 20, console) as bars:
        for event in EVENTS:
            bars.listen(event)
    file = console.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue().endswith("\x1b[2K"), "the last thing done is to erase a line"


def test_a_file_gets_a_line_a_task() -> None:
    console = Console(file=io.StringIO(), width=80)
    with Lines(TITLE, 20, console) as lines:
        for event in [*EVENTS[:-1], TaskLearnt(task=1, seconds=2.0)]:
            lines.listen(event)
    file = console.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue().splitlines() == [
        f"{TITLE}: decoding 50,000 images, once",
        f"{TITLE}: task 1 of 20 learnt in 1.6 min; loss 0.100, accuracy 100.0 %",
        f"{TITLE}: task 2 of 20 learnt in 2.0 s",
    ]


@pytest.mark.parametrize("others", [{"silent": True}, {"rank": "1"}])
def test_one_process_shows_progress_and_none_where_it_is_not_wanted(
    others: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", str(others.get("rank", "0")))
    with progress.display(load("digits"), silent=bool(others.get("silent"))) as shown:
        for event in EVENTS:
            shown.listen(event)
    assert capsys.readouterr() == ("", "")
