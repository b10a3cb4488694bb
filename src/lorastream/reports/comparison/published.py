"""The figures that others printed, to stand beside ours: never mixed with them, always with their source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from lorastream.recipes import catalogue
from lorastream.reports.comparison.settings import departures
from lorastream.reports.groups import Figure
from lorastream.runs import RunRecord


@dataclass(frozen=True, kw_only=True)
class Published:
    """What others measured with a method on a recipe's protocol.

    Attributes:
        accuracy: average accuracy after the last task, a fraction.
        spread: of it over their runs, a fraction; None where the source gives none.
        source: where it stands, how many runs, what the spread is, how it is weighted and how it came here.
        by_image: whether every test image weighs the same, not every task.
        departures: in what our runs depart from that protocol; a reader must not compare then.
    """

    accuracy: float
    spread: float | None
    source: str
    by_image: bool
    departures: tuple[str, ...]

    def ours(self, records: tuple[RunRecord, ...]) -> Figure:
        """Return our accuracy, weighted as theirs."""
        by_image = (record.average_accuracy_by_image for record in records)
        return Figure.of(by_image if self.by_image else (record.average_accuracy for record in records))


def published(record: RunRecord) -> Published | None:
    """Return what others measured with a run's method on its recipe: a paper's figure, else that of a released log."""
    protocol = _protocol(record.recipe_name)
    known = _table(_table(record.recipe.get("published")).get(record.method))
    known = known or _table(_table(protocol.get("published")).get(record.method))
    kind = next((kind for kind in ("paper", "log") if known.get(kind)), None)
    if kind is None:
        return None
    figures = _table(known[kind])
    spread = figures.get("average_accuracy_spread")
    return Published(
        accuracy=figures["average_accuracy"] / 100,
        spread=None if spread is None else spread / 100,
        source=_source(kind, figures),
        by_image=figures.get("weighting", "by image") != "by task",
        departures=tuple(departures(record, protocol)),
    )


def _source(kind: str, figures: Mapping[str, Any]) -> str:
    runs = figures.get("runs", 1)
    parts = [
        figures["source"] if kind == "paper" else f"the authors' log: {figures['source']}",
        "one run" if runs == 1 else f"{runs} runs",
        *([f"± {figures['spread']}"] if figures.get("spread") else []),
        f"weighted {figures.get('weighting', 'by image')}".replace("weighted not stated", "weighting not stated"),
        *([figures["provenance"]] if figures.get("provenance") else []),
        *([figures["note"]] if figures.get("note") else []),
    ]
    return ", ".join(parts)


@cache
def _protocol(recipe: str) -> dict[str, Any]:
    """Return the document of a recipe of the library; empty where there is none of that name."""
    return tomllib.loads(catalogue.text(recipe)) if recipe in catalogue.names() else {}


def _table(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
