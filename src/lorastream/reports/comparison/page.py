"""A comparison as one HTML file, on the frame of the run's page: tables, plots, and the numbers behind them."""

from __future__ import annotations

from dataclasses import dataclass

from lorastream.reports.comparison.columns import cells, closing_notes, footnotes, overview, points, tables
from lorastream.reports.comparison.compare import Comparison, Setting
from lorastream.reports.comparison.plots import COSTS, accuracy_against
from lorastream.reports.page.figure import Section, Table
from lorastream.reports.page.template import render
from lorastream.reports.units import number_word, percent

TITLE = "Methods compared"
_GAINS, _COST_TABLE = "What they came to", "What they cost"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One setting on the page: its tables and figures, and the notes below them."""

    section: Section
    notes: tuple[str, ...]


def page(comparison: Comparison) -> str:
    """Return the page; the same comparison gives the same bytes."""
    several = len(comparison.settings) > 1
    parts = [_part(setting, number) for number, setting in enumerate(comparison.settings, start=1)]
    return render(
        "comparison.html.j2",
        title=TITLE,
        reload=None,
        lead=_lead(comparison),
        overview=Table.of(*overview(comparison)) if several else None,
        sections=parts,
        notes=closing_notes(comparison),
        runs=sum(len(row.records) for setting in comparison.settings for row in setting.rows),
    )


def _part(setting: Setting, number: int) -> Part:
    figures = [accuracy_against(setting, cost, name=f"setting-{number}-{cost.replace(' ', '-')}") for cost in COSTS]
    section = Section(
        name=f"setting-{number}",
        title=setting.name,
        text=_told(setting),
        figures=tuple(figure for figure in figures if figure),
        tables=tuple(
            (title, Table.of([column.heading for column in chosen], cells(setting, chosen)))
            for title, chosen in zip((_GAINS, _COST_TABLE), tables(setting), strict=True)
        ),
    )
    return Part(section=section, notes=tuple(footnotes(setting)))


def _lead(comparison: Comparison) -> str:
    settings = comparison.settings
    methods = {row.method for setting in settings for row in setting.rows}
    told = f"{number_word(len(methods)).capitalize()} {'method' if len(methods) == 1 else 'methods'} in "
    told += f"{number_word(len(settings))} {'setting' if len(settings) == 1 else 'settings'}."
    if comparison.mean_ranks:
        name, rank = comparison.mean_ranks[0]
        told += f" Best on average over the settings: {name}, mean rank {rank:.1f}."
    return told


def _told(setting: Setting) -> str:
    best = setting.rows[0]
    if best.accuracy.mean is None:
        return "No run has an accuracy."
    told = f"The most accurate is {best.method} with {percent(best.accuracy.mean)} %"
    for second in setting.rows[1:2]:
        if second.accuracy.mean is not None:
            ahead = points(best.accuracy.mean - second.accuracy.mean).lstrip("+")
            told += f", {ahead} points ahead of {second.method}"
    return told + "."
