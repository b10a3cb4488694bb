"""How well the run knows each task: curves, the accuracy matrix, and what was forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorastream.metrics.summaries import accuracy_curve, forgetting_by_task
from lorastream.reports.page.drawing import (
    ACCENT,
    INK,
    SECOND,
    drawing,
    legend,
    numbers,
    over_tasks,
    percents,
    thin_line,
)
from lorastream.reports.page.figure import Figure, Section, Table
from lorastream.reports.page.heat_map import MOST_WITH_FIGURES, heat_map
from lorastream.reports.page.words import classes_of
from lorastream.reports.units import percent
from lorastream.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 30
_NEVER = float("-inf")


def accuracy_section(record: RunRecord) -> Section:
    """Return the part of the page about accuracy; empty before the first task was evaluated."""
    figures = [_curves(record), _matrix(record)] if record.accuracy_matrix else []
    if len(record.accuracy_matrix) > 1:
        figures.append(_forgetting(record))
    return Section(name="accuracy", title="Accuracy", figures=tuple(figures))


def _curves(record: RunRecord) -> Figure:
    matrix = record.matrix()
    mean, restricted = accuracy_curve(matrix), accuracy_curve(record.task_restricted_matrix())
    with drawing("curves", height=260, top=38 if restricted else 24) as drawn:
        _task_lines(drawn.panel, matrix.rows)
        _mean_line(drawn.panel, mean, INK, "mean")
        if restricted:
            _mean_line(drawn.panel, restricted, SECOND, "mean, task given", dashed=True)
        over_tasks(drawn.panel, matrix.n_tasks)
        percents(drawn.panel, "accuracy, %")
        legend(drawn.panel)
    given = " With the task given, only its own classes may be chosen." if restricted else ""
    rows = [
        [str(t + 1), percent(value), percent(restricted[t] if t < len(restricted) else None)]
        for t, value in enumerate(mean)
    ]
    return Figure(
        name="curves",
        title="Accuracy over tasks",
        alt=f"Line chart. The mean accuracy is {percent(mean[0])} % after task 1 and {percent(mean[-1])} % after "
        f"task {matrix.n_tasks}.",
        caption=f"On the test images of every task seen so far, among all classes seen so far.{given}",
        svg=drawn.svg,
        table=Table.of(["after task", "mean", "with the task given"], rows),
    )


def _task_lines(panel: Axes, rows: Sequence[Sequence[float | None]]) -> None:
    """Draw a thin line for each task from when it was learnt on; none where there are too many to tell apart."""
    n_tasks = len(rows)
    for k in range(n_tasks if n_tasks <= _MOST_LINES else 0):
        later = [100 * value for value in numbers([row[k] for row in rows[k:]])]
        label = "each task, older ones paler" if k == n_tasks - 1 else None
        thin_line(panel, range(k + 1, n_tasks + 1), later, place=k / max(n_tasks - 1, 1), label=label)


def _mean_line(panel: Axes, values: Sequence[float | None], colour: str, label: str, *, dashed: bool = False) -> None:
    panel.plot(
        range(1, len(values) + 1),
        [100 * value for value in numbers(values)],
        color=colour,
        linewidth=2.2,
        linestyle=(0, (3, 2)) if dashed else "-",
        marker="o" if len(values) == 1 else "",
        label=label,
    )


def _matrix(record: RunRecord) -> Figure:
    rows = record.accuracy_matrix
    n = len(rows)
    first, last = rows[-1][0], rows[-1][-1]
    return Figure(
        name="matrix",
        title="Accuracy matrix",
        alt=f"Heat map with {n} {'row' if n == 1 else 'rows'}. After the last task, accuracy is {percent(first)} % on "
        f"the first task and {percent(last)} % on the last.",
        caption="Accuracy in percent on the task of the column, after learning the task of the row."
        + (" The figures are in the table." if n > MOST_WITH_FIGURES else ""),
        svg=heat_map("matrix", rows, across="accuracy on task", down="after task"),
        table=Table.of(
            ["after task", *(f"task {k + 1}" for k in range(n))],
            [[str(t + 1), *map(percent, row), *[""] * (n - t - 1)] for t, row in enumerate(rows)],
        ),
    )


def _forgetting(record: RunRecord) -> Figure:
    matrix = record.matrix()
    lost = forgetting_by_task(matrix)
    with drawing("forgetting") as drawn:
        panel = drawn.panel
        panel.bar(range(1, len(lost) + 1), [100 * value for value in numbers(lost)], width=0.7, color=ACCENT)
        panel.axhline(0, color=INK, linewidth=0.8)
        over_tasks(panel, len(lost), "task", bars=True)
        panel.set_ylabel("forgotten, points")
    worst = max(range(len(lost)), key=lambda k: _NEVER if (value := lost[k]) is None else value)
    rows = [
        [f"{k + 1}", percent(matrix.rows[k][k]), percent(matrix.rows[-1][k]), percent(lost[k]), classes_of(record, k)]
        for k in range(len(lost))
    ]
    return Figure(
        name="forgetting",
        title="Forgetting per task",
        alt=f"Bar chart. The mean is {percent(record.forgetting)} points. Task {worst + 1} lost most: "
        f"{percent(lost[worst])} points.",
        caption="The best accuracy on the task before the last one was learnt, less that at the end. "
        f"Below 0: better than ever. Mean: {percent(record.forgetting)} points.",
        svg=drawn.svg,
        table=Table.of(["task", "just learnt", "at the end", "forgotten", "classes"], rows),
    )
