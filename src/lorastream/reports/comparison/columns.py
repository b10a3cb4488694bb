"""The columns of a comparison, as text: the same in Markdown, LaTeX and on the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lorastream.reports.comparison.compare import Comparison, Row, Setting
from lorastream.reports.comparison.significance import LEVEL, pairs_needed, smallest_p
from lorastream.reports.groups import Figure
from lorastream.reports.tables import COLUMNS, mean_and_deviation
from lorastream.reports.units import NOTHING, percent

MINUS = "−"  # noqa: RUF001 as wide as a plus
_SEEDS_NAMED = 5
_PAIRS = "Differences are means over the pairs: runs with the same seed and class order."
_SAME_DATA = (
    "Tables differ by the data's fingerprint alone. Older releases had it change with a file's place and time: where "
    "the images are the same, add --same-data."
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        heading: its name.
        cell: what stands in a line.
        is_cost: whether it says what a method takes, not what it gives.
        is_about_others: whether it compares with published figures or with another line.
    """

    heading: str
    cell: Callable[[Row], str]
    is_cost: bool = False
    is_about_others: bool = False


def columns(setting: Setting, *, between: str = " ", name_seeds: bool = True) -> list[Column]:
    """Return the columns that have something to say in a table, the method's name first.

    Args:
        setting: the table.
        between: mean and deviation.
        name_seeds: name the seeds; else count them.
    """
    figures = [
        Column(heading=name, cell=_figure(name, between), is_cost=name in {"trainable", "passes", "stored", "time"})
        for name in COLUMNS
    ]
    figures = [c for c in figures if c is figures[0] or any(c.cell(row) != NOTHING for row in setting.rows)]
    method = Column(heading="method", cell=lambda row: row.method)
    seeds = Column(heading="seeds", cell=_seeds if name_seeds else lambda row: str(len(row.seeds)))
    gains, costs = [c for c in figures if not c.is_cost], [c for c in figures if c.is_cost]
    return [method, seeds, *gains, *_about_others(setting, between), *costs]


def footnotes(setting: Setting) -> list[str]:
    """Return what stands below a table: what the test says, the sources, what differs, what was left out."""
    told = _of_significance(setting)
    told += [f"[{number}] {source}." for source, number in _sources(setting).items()]
    departing = {row.method: row.published.departures for row in setting.rows if row.published}
    told += [
        f"† {method} was not run as published: {', '.join(found[:4])}{' ...' if len(found) > 4 else ''}."  # noqa: PLR2004
        for method, found in departing.items()
        if found
    ]
    told += list(setting.remarks)
    return told + [f"Left out: {reason}." for reason in setting.left_out]


def closing_notes(comparison: Comparison) -> list[str]:
    """Return what stands below all tables."""
    told = [f"Left out: {reason}." for reason in comparison.left_out]
    if comparison.mean_ranks:
        told += ["Mean rank: over the tables, among the methods that are in every one of them."]
    if comparison.same_data_may_help:
        told += [_SAME_DATA]
    return told


def overview(comparison: Comparison, *, between: str = " ") -> tuple[list[str], list[list[str]]]:
    """Return methods x recipes: headings and rows of the average accuracy, best mean rank first; see `Comparison`."""
    ranks = dict(comparison.mean_ranks)
    names = list(dict.fromkeys(row.method for setting in comparison.settings for row in setting.rows))
    ordered = [name for name in ranks if name in names] + [name for name in names if name not in ranks]
    cells = [{row.method: row for row in setting.rows} for setting in comparison.settings]
    rows = [
        [name]
        + [_figure("average accuracy", between)(each[name]) if name in each else NOTHING for each in cells]
        + ([f"{ranks[name]:.1f}" if name in ranks else NOTHING] if ranks else [])
        for name in ordered
    ]
    return ["method", *(setting.name for setting in comparison.settings), *(["mean rank"] if ranks else [])], rows


def _about_others(setting: Setting, between: str) -> list[Column]:
    """Return the columns on published figures, where there are any, and on the line that all are compared with."""
    told: dict[str, Callable[[Row], str]] = {}
    if any(row.published for row in setting.rows):
        sources = _sources(setting)
        told["published"] = lambda row: _published(row, sources, between)
        told["ours minus published"] = _minus_published
    if len(setting.rows) > 1:
        told |= {f"minus {setting.reference}": _difference, "p (pairs)": _p}
    return [Column(heading=heading, cell=cell, is_about_others=True) for heading, cell in told.items()]


def _figure(name: str, between: str) -> Callable[[Row], str]:
    number, spelling = COLUMNS[name]
    return lambda row: mean_and_deviation(row.figure(number), spelling, between=between)


def tables(setting: Setting, *, between: str = " ") -> tuple[list[Column], list[Column]]:
    """Return the columns in two tables that each fit a narrow place: what the methods came to, and what they cost."""
    chosen = columns(setting, between=between, name_seeds=False)
    return [c for c in chosen if not c.is_cost], [chosen[0], *(c for c in chosen if c.is_cost)]


def _seeds(row: Row) -> str:
    named = ", ".join(map(str, row.seeds))
    return named if len(row.seeds) <= _SEEDS_NAMED else f"{len(row.seeds)} from {row.seeds[0]}"


def _sources(setting: Setting) -> dict[str, int]:
    found = dict.fromkeys(row.published.source for row in setting.rows if row.published)
    return {source: number for number, source in enumerate(found, start=1)}


def _published(row: Row, sources: dict[str, int], between: str) -> str:
    if row.published is None:
        return NOTHING
    figure = Figure(mean=row.published.accuracy, deviation=row.published.spread)
    mark = "†" if row.published.departures else ""
    return f"{mean_and_deviation(figure, percent, between=between)} [{sources[row.published.source]}]{mark}"


def _minus_published(row: Row) -> str:
    ours = row.published.ours(row.records).mean if row.published else None
    return NOTHING if ours is None or row.published is None else points(ours - row.published.accuracy)


def _difference(row: Row) -> str:
    return NOTHING if row.versus is None or row.versus.difference is None else points(row.versus.difference)


def _p(row: Row) -> str:
    versus = row.versus
    if versus is None or not versus.pairs:
        return NOTHING
    if not versus.can_be_significant or versus.p_corrected is None:
        return f"{NOTHING} ({versus.pairs})"
    shown = "<0.001" if versus.p_corrected < 0.001 else f"{versus.p_corrected:.3f}"  # noqa: PLR2004 three decimals
    return f"{shown}{'*' if versus.is_significant else ''} ({versus.pairs})"


def points(fraction: float) -> str:
    """Return a difference of fractions in percentage points, with its sign: -0.048 is "−4.8"."""
    shown = percent(abs(fraction))
    return shown if shown == "0.0" else ("+" if fraction > 0 else MINUS) + shown


def _of_significance(setting: Setting) -> list[str]:
    tested = [row.versus for row in setting.rows if row.versus]
    if not tested:
        return ["One method: nothing to compare it with."]
    comparisons = sum(versus.p is not None for versus in tested)
    most = max(versus.pairs for versus in tested)
    needed = pairs_needed(comparisons)
    level = f"{round(100 * LEVEL)} %"
    if most == 0:
        return [f"No run shares seed and class order with one of {setting.reference}: nothing can be tested."]
    if not any(versus.can_be_significant for versus in tested):
        more = "" if comparisons <= 1 else f", {needed} for {comparisons} comparisons"
        told = (
            f"With {most} {'pair' if most == 1 else 'pairs'} of runs no p below {smallest_p(most):.2g} is possible, so "
            "no difference here is claimed to be more than luck; "
            f"{pairs_needed()} seeds are needed for one comparison{more}."
        )
        return [told, _PAIRS]
    told = (
        "p: exact sign-flip test on the pairs, corrected for "
        f"{comparisons} {'comparison' if comparisons == 1 else 'comparisons'} (Holm); * is significant at {level}."
    )
    short = sorted(row.method for row in setting.rows if row.versus and not row.versus.can_be_significant)
    return [told, _PAIRS, *([f"Too few pairs for a claim (needs {needed}): {', '.join(short)}."] if short else [])]


def cells(setting: Setting, chosen: Sequence[Column]) -> list[list[str]]:
    """Return the lines of a table as text."""
    return [[column.cell(row) for column in chosen] for row in setting.rows]
