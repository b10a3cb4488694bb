"""A comparison on the terminal: what the methods came to in one table, what they cost in the next."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lorastream.reports.comparison.columns import Column, cells, closing_notes, footnotes, overview, tables
from lorastream.reports.comparison.compare import Comparison, Row, Setting

_HEADINGS = {
    "average accuracy": "average\naccuracy",
    "average incremental": "average\nincre-\nmental",
    "forgetting": "forget-\nting",
    "task-restricted": "task-\nrestric-\nted",
    "ours minus published": "ours\nminus\npubl.",
    "published": "publi-\nshed",
    "p (pairs)": "p\n(pairs)",
}


def shown(comparison: Comparison, *, width: int) -> list[RenderableType]:
    """Return what to print, one below the other.

    Args:
        comparison: the tables.
        width: of the terminal, in columns; where it is too narrow for a deviation beside its mean, it goes below.
    """
    parts: list[RenderableType] = []
    if len(comparison.settings) > 1:
        overviews = [_overview(comparison, between) for between in (" ", "\n")]
        parts += [Text("Average accuracy, %", style="bold"), _fitting(overviews, width)]
    for setting in comparison.settings:
        parts += [Text(setting.name, style="bold")]
        for kind in (0, 1):
            parts += _fitting_parts(setting, [tables(setting, between=b)[kind] for b in (" ", "\n")], width)
        parts += [*footnotes(setting), Text()]
    notes = closing_notes(comparison)
    return [*parts, *notes] if notes else parts[:-1]


def _fitting_parts(setting: Setting, alternatives: Sequence[Sequence[Column]], width: int) -> list[Table]:
    """Return the first that fits; where none does, two tables: what a method came to, and how it compares."""
    whole = _fitting([_part(setting, chosen) for chosen in alternatives], width)
    if _width(whole) <= width or not any(column.is_about_others for column in alternatives[0]):
        return [whole]
    own = [[column for column in chosen if not column.is_about_others] for chosen in alternatives]
    others = [[chosen[0], *(column for column in chosen if column.is_about_others)] for chosen in alternatives]
    return [_fitting([_part(setting, chosen) for chosen in part], width) for part in (own, others)]


def _fitting(alternatives: Sequence[Table], width: int) -> Table:
    """Return the first of several tables that fits, else the last."""
    return next((table for table in alternatives if _width(table) <= width), alternatives[-1])


def _width(table: Table) -> int:
    """Return how many columns a table takes where there is room for all of it."""
    ruler = Console(width=1 << 16, file=io.StringIO())
    return Measurement.get(ruler, ruler.options, table).maximum


def _overview(comparison: Comparison, between: str) -> Table:
    headings, rows = overview(comparison, between=between)
    return _table([heading.replace(" (", "\n(") for heading in headings], rows)


def _part(setting: Setting, chosen: Sequence[Column]) -> Table:
    rows = [
        [_cell(column, cell, row, setting) for column, cell in zip(chosen, line, strict=True)]
        for row, line in zip(setting.rows, cells(setting, chosen), strict=True)
    ]
    return _table([_heading(column.heading) for column in chosen], rows)


def _cell(column: Column, cell: str, row: Row, setting: Setting) -> str:
    return "ref." if column.heading.startswith("minus ") and row.method == setting.reference else cell


def _heading(heading: str) -> str:
    return "minus\nref." if heading.startswith("minus ") else _HEADINGS.get(heading, heading)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
