"""The figures on the cards of docs/methods: ours from the records, and beside them what others published.

`scripts/refresh_tables.py` puts them there. Nothing in them is typed by hand.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorastream.recipes import catalogue
from lorastream.recipes.published import Figures, PaperFigures, Published
from lorastream.reports.comparison import compare
from lorastream.reports.comparison.settings import departures
from lorastream.reports.tables import COLUMNS, mean_and_deviation
from lorastream.reports.text import grid
from lorastream.runs import RunRecord, store

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A figure that others printed.

    Attributes:
        recipe: of the library, whose protocol it belongs to.
        protocol: that recipe's document.
        figures: as its `published` table has them.
    """

    recipe: str
    protocol: Mapping[str, Any]
    figures: Figures


def method_figures(method: str, results: Path = RESULTS) -> str:
    """Return the tables of one method, and what a reader must know before comparing them.

    Args:
        method: a name of `methods.names()`.
        results: the folder under which `RECIPE/METHOD/RUN/record.json` lie.
    """
    records = [store.read(path) for path in sorted(results.glob(f"*/{method}/*/record.json"))]
    printed = list(_printed(method))
    return "\n\n".join([*_ours(records), *_theirs(printed, records)])


def _ours(records: Sequence[RunRecord]) -> Iterator[str]:
    """Yield the table of our runs and what they were runs of."""
    if not any(record.status == "finished" and record.accuracy_matrix for record in records):
        yield "Ours: not measured yet; no finished run lies under `benchmarks/results`."
        return
    settings = compare(records, same_data=True).settings
    rows = [(setting.name, row) for setting in settings for row in setting.rows]
    figures = [
        [mean_and_deviation(row.figure(number), spelt, between=" ") for number, spelt in COLUMNS.values()]
        for _, row in rows
    ]
    # Two lines of one recipe are told apart by what stands after the method's name.
    first = [recipe + row.method.removeprefix(row.records[0].method) for recipe, row in rows]
    lines = [[name, str(len(row.seeds)), *own] for name, (_, row), own in zip(first, rows, figures, strict=True)]
    yield "Ours, percent, mean ± standard deviation over the seeds, which are class orders too:"
    yield grid(["recipe", "seeds", *COLUMNS], lines)
    yield "\n".join(f"- `{name}`: {_budget(row.records[0])}." for name, (_, row) in zip(first, rows, strict=True))


def _budget(record: RunRecord) -> str:
    """Say what a run was a run of: backbone, images, tasks, epochs."""
    parts: list[str] = []
    if record.backbone is not None:
        side = f" at {record.backbone.image_size} px" if record.backbone.image_size else ""
        parts.append(f"{record.backbone.name}{side}")
    if record.dataset is not None:
        parts.append(f"{sum(record.dataset.n_train):,} training and {sum(record.dataset.n_test):,} test images")
    epochs = max((epoch.epoch for epoch in record.epochs), default=-1) + 1
    tasks = len(record.accuracy_matrix)
    parts.append("one task" if tasks == 1 else f"{tasks} tasks")
    return ", ".join([*parts, f"{epochs} epochs a task" if epochs else "no training"])


def _printed(method: str) -> Iterator[Printed]:
    """Yield what the library's recipes quote of a method, papers before logs."""
    for recipe in catalogue.names():
        protocol = tomllib.loads(catalogue.text(recipe))
        found = Published.model_validate(catalogue.published(recipe).get(method, {}))
        for figures in (found.paper, found.log):
            if figures is not None:
                yield Printed(recipe=recipe, protocol=protocol, figures=figures)


def _theirs(printed: Sequence[Printed], records: Sequence[RunRecord]) -> Iterator[str]:
    """Yield the table of published figures, their sources, and why ours do not compare with them."""
    if not printed:
        yield "Published: nothing that a recipe of lorastream quotes, so there is nothing to compare with."
        return
    sources = list(dict.fromkeys(_source(one.figures) for one in printed))
    rows = [
        [
            one.recipe,
            _spread(one.figures.average_accuracy, one.figures.average_accuracy_spread),
            _spread(one.figures.average_incremental_accuracy, one.figures.average_incremental_accuracy_spread),
            str(one.figures.runs),
            f"[{sources.index(_source(one.figures)) + 1}]",
        ]
        for one in printed
    ]
    yield "Published, percent:"
    yield grid(["protocol", "average accuracy", "average incremental", "runs", "source"], rows)
    told = [f"- [{number}] {source}." for number, source in enumerate(sources, start=1)]
    apart: dict[str, list[str]] = {}
    for one in printed if records else []:
        recipes = apart.setdefault(_reasons(one, records), [])
        recipes += [] if f"`{one.recipe}`" in recipes else [f"`{one.recipe}`"]
    told += [f"- Not comparable with ours, {why}: {', '.join(of)}." for why, of in apart.items() if why]
    yield "\n".join(told)


def _source(figures: Figures) -> str:
    """Say where a figure stands, what its spread is, how it is weighted, and how it came here."""
    parts = [figures.source, f"± {figures.spread}" if figures.spread else "", f"weighted {figures.weighting}"]
    parts += [figures.provenance] if isinstance(figures, PaperFigures) else ["the authors' log"]
    return ", ".join(part for part in [*parts, figures.note] if part)


def _spread(value: float, spread: float | None) -> str:
    return f"{value:.2f}" if spread is None else f"{value:.2f} ± {spread:.2f}"


def _reasons(one: Printed, records: Sequence[RunRecord]) -> str:
    """Say why none of our runs compares with a published figure; "" where one does."""
    return min((_departures(one, record) for record in records), key=len)


def _departures(one: Printed, record: RunRecord) -> str:
    """Say how a published figure's run differs from one of ours: setting by setting where the recipe is the same."""
    if record.recipe_name == one.recipe:
        own = ", ".join(departures(record, one.protocol))
        return own and f"which had {own}"
    found: list[str] = []
    if record.backbone is None or record.backbone.name != one.protocol["backbone"]["name"]:
        found.append("another backbone")
    if record.dataset is None or record.dataset.name != str(one.protocol["data"]["source"]).rpartition(":")[2]:
        found.append("other images")
    elif _table(record, "data").get("images_per_class"):
        found.append("more images")
    ours, theirs = _table(record, "training").get("epochs"), one.protocol["training"].get("epochs")
    if ours != theirs:
        found.append("more epochs" if (ours or 0) < (theirs or 0) else "other epochs")
    return f"for they had {', '.join(found or ['another recipe'])}"


def _table(record: RunRecord, key: str) -> Mapping[str, Any]:
    table = record.recipe.get(key)
    return table if isinstance(table, dict) else {}
