"""The magnitudes that runs of SD-LoRA ended with, beside those of the authors' logs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from pydantic import JsonValue
from rich import box
from rich.table import Table

from lorastream.reports.groups import Group, group
from lorastream.reports.text import grid
from lorastream.runs import RunRecord

PUBLISHED: dict[int, tuple[str, tuple[float, ...]]] = {
    5: ("authors' log, ImageNet-R, N = 5", (1.803, 1.332, 1.181, 1.081, 1.470)),
    10: (
        "authors' log, ImageNet-R, N = 10",
        (0.925, 0.816, 0.657, 0.717, 0.640, 0.692, 0.632, 0.613, 0.545, 0.717),
    ),
}
"""By number of tasks: the magnitudes after the last one, as logged (WuYichen-97/SD-Lora-CL, folder logs, one seed)."""

TREND = (
    "The paper (SD-LoRA, ICLR 2025, Fig. 3): early magnitudes are the largest and they fall with the task. "
    "The last one multiplies an update that is not normalised and does not compare with the others."
)


def magnitudes_table(records: Sequence[RunRecord]) -> Table:
    """Show the magnitudes after the last task, the mean over seeds, beside the authors'; the trend below."""
    headings, rows = _rows(records)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=TREND, caption_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def magnitudes_markdown(records: Sequence[RunRecord]) -> str:
    """Return the same as Markdown."""
    return f"{grid(*_rows(records))}\n\n{TREND}"


def have_magnitudes(records: Sequence[RunRecord]) -> bool:
    """Whether any of the runs has magnitudes to show."""
    return any(_last(record) for record in records)


def _rows(records: Sequence[RunRecord]) -> tuple[list[str], list[list[str]]]:
    found = [(_label(entry), _mean(entry)) for entry in group([record for record in records if _last(record)])]
    width = max((len(values) for _, values in found), default=0)
    lengths = {entry.n_tasks for entry in group(records)}
    found += [PUBLISHED[n] for n in sorted(lengths & PUBLISHED.keys())]
    headings = ["magnitude of task", *(str(k + 1) for k in range(width))]
    return headings, [[label, *(f"{value:.2f}" for value in values[:width])] for label, values in found]


def _label(entry: Group) -> str:
    seeds = f"{len(entry.records)} seeds" if len(entry.records) > 1 else f"seed {entry.seeds[0]}"
    return f"{entry.method}, {seeds}"


def _mean(entry: Group) -> tuple[float, ...]:
    """Return the mean over the runs of a group, of as many magnitudes as each of them has."""
    columns = zip(*(_last(record) for record in entry.records), strict=False)
    return tuple(statistics.fmean(column) for column in columns)


def _last(record: RunRecord) -> list[float]:
    """Return the magnitudes after the last task."""
    return magnitudes_of(record.figures_per_task[-1]) if record.figures_per_task else []


def magnitudes_of(figures: Mapping[str, JsonValue]) -> list[float]:
    """Return the magnitudes in the figures of a task, the mean over the projections where each has its own."""
    values = figures.get("magnitudes")
    if not isinstance(values, list) or not values:
        return []
    rows = [_numbers(row) for row in values] if isinstance(values[0], list) else [_numbers(values)]
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def _numbers(values: JsonValue) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float)] if isinstance(values, list) else []
