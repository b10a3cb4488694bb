"""A run as it goes on, for the terminal: one frame, made of its record and of how old that is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lorastream.reports.units import NOTHING, duration, percent
from lorastream.runs import RunRecord

_BLOCKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 24
_FIGURES = 32  # columns of a line of a task beside its bar
_OTHER_LINES = 12
_NARROWEST_CURVE = 8
_TASKS_TIMED = 3
_PATIENCE = 3.0
_SHORTEST_PATIENCE, _FIRST_PATIENCE = 60.0, 600.0
_COLOURS = {"running": "cyan", "finished": "green", "interrupted": "yellow", "failed": "red"}


def frame(record: RunRecord, *, age: float, width: int, height: int, trouble: str | None = None) -> RenderableType:
    """Return what to show of a run now.

    Args:
        record: as it was read last.
        age: seconds since it was written.
        width: columns to fill at most.
        height: lines to fill at most; of many tasks the newest are shown.
        trouble: why it could not be read again, if so.
    """
    parts: list[RenderableType] = [_title(record), _progress(record, age, min(_BAR, width // 3))]
    if record.accuracy_matrix:
        parts += [Text(), _tasks(record, max(height - _OTHER_LINES, 1), min(_BAR, width - _FIGURES))]
        parts += [Text(), *_curves(record, width)]
    news = trouble and Text(f"The record cannot be read just now: {trouble}", style="yellow")
    return Group(*parts, news or _news(record, age))


def seconds_left(record: RunRecord, age: float) -> float | None:
    """Return about how many seconds a run has to go; None where no task was timed, or there is nothing left.

    Every task left takes as long as the last three did on average, their evaluation included.
    """
    left = len(record.tasks) - len(record.accuracy_matrix)
    times = _task_seconds(record)[-_TASKS_TIMED:]
    if record.status != "running" or not times or left <= 0:
        return None
    return max(left * sum(times) / len(times) - age, 0.0)


def is_silent(record: RunRecord, age: float) -> bool:
    """Whether a running run has been without news for so long that its process may be gone.

    Three times as long as the longest task so far took, a minute at least; ten minutes before the first.
    """
    times = _task_seconds(record)
    patience = max(_PATIENCE * max(times), _SHORTEST_PATIENCE) if times else _FIRST_PATIENCE
    return record.status == "running" and age > patience


def sparkline(values: Sequence[float | None], *, width: int) -> str:
    """Return values as blocks between the lowest and the highest of them; a dot where there is none.

    Args:
        values: any number.
        width: characters at most; of more values, neighbours are averaged.
    """
    shown = _thinned(values, width)
    present = [value for value in shown if value is not None]
    if not present:
        return ""
    low, span = min(present), max(present) - min(present)
    top = len(_BLOCKS) - 1
    return "".join("·" if v is None else _BLOCKS[round(top * (v - low) / span) if span else top // 2] for v in shown)


def bar(fraction: float, *, width: int) -> str:
    """Return a bar of so many characters, filled in eighths of one."""
    eighths = round(max(0.0, min(fraction, 1.0)) * 8 * width)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _title(record: RunRecord) -> Text:
    text = Text(f"{record.recipe_name}, {record.method}, seed {record.seed}: ", style="bold")
    text.append(record.status, style=_COLOURS[record.status])
    if record.failure:
        text.append(f"\n{' '.join(record.failure.split())}", style="red")
    return text


def _progress(record: RunRecord, age: float, length: int) -> Text:
    learnt, planned = len(record.accuracy_matrix), max(len(record.tasks), len(record.accuracy_matrix))
    text = Text(f"{bar(learnt / planned if planned else 0.0, width=length)} {learnt} of {planned} tasks learnt")
    left = seconds_left(record, age)
    if left is not None and not is_silent(record, age):
        text.append(f", about {duration(left)} left" if left else ", about to end")
    return text


def _tasks(record: RunRecord, room: int, length: int) -> Table:
    """Return the accuracy on each task now, and when it was learnt; the newest where there is not room for all.

    Args:
        record: with a task learnt.
        room: lines for the tasks.
        length: of a bar.
    """
    length = max(length, 1)
    now, n_tasks = record.accuracy_matrix[-1], len(record.accuracy_matrix)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("task", "", "now %", "when learnt %"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    shown = n_tasks if n_tasks <= room else max(room - 1, 1)
    if shown < n_tasks:
        older = [value for value in now[: n_tasks - shown] if value is not None]
        mean = sum(older) / len(older) if older else None
        table.add_row(f"1 to {n_tasks - shown}", bar(mean or 0.0, width=length), percent(mean), NOTHING)
    for k in range(n_tasks - shown, n_tasks):
        table.add_row(
            str(k + 1), bar(now[k] or 0.0, width=length), percent(now[k]), percent(record.accuracy_matrix[k][k])
        )
    return table


def _curves(record: RunRecord, width: int) -> list[Text]:
    """Return the average accuracy after each task and the loss of each epoch, first and last beside."""
    means = [_mean(row) for row in record.accuracy_matrix]
    losses = [epoch.loss for epoch in record.epochs]
    lines = [("average accuracy", means, percent(means[0]), f"{percent(means[-1])} %")]
    if any(loss is not None for loss in losses):
        lines += [("loss by epoch", losses, _number(losses[0]), _number(losses[-1]))]
    told: list[Text] = []
    for label, values, first, last in lines:
        room = max(width - len(label.ljust(17)) - len(first) - len(last) - 2, _NARROWEST_CURVE)
        told.append(Text(f"{label.ljust(17)}{first} {sparkline(values, width=room)} {last}", no_wrap=True))
    return told


def _news(record: RunRecord, age: float) -> Text:
    if record.status != "running":
        return Text(f"Ended {record.finished or 'at an unknown time'}.", style="dim")
    if not is_silent(record, age):
        return Text(f"Last news {duration(age)} ago.", style="dim")
    times = _task_seconds(record)
    usual = f"a task took {duration(max(times))} at most" if times else "not even the first task is learnt"
    told = f"No news for {duration(age)}, and {usual}: its process may hang or be gone."
    return Text(told, style="bold yellow")


def _task_seconds(record: RunRecord) -> list[float]:
    """Return how long each task took that was timed, with its evaluation where that was timed too."""
    evaluations = [*record.evaluation_seconds_per_task, *[None] * len(record.seconds_per_task)]
    pairs = zip(record.seconds_per_task, evaluations, strict=False)
    return [seconds + (evaluation or 0.0) for seconds, evaluation in pairs if seconds is not None]


def _thinned(values: Sequence[float | None], width: int) -> list[float | None]:
    stride = math.ceil(len(values) / width) if width else 1
    return [_mean(values[i : i + stride]) for i in range(0, len(values), max(stride, 1))]


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"
