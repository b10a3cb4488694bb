"""The table of `ablation.py`'s figures; `scripts/refresh_tables.py` puts it into docs/methods/sd_lora_plus.md."""

from __future__ import annotations

import json
from pathlib import Path

from lorastream.reports.groups import Figure
from lorastream.reports.tables import mean_and_deviation
from lorastream.reports.units import percent
from measuring import Json
from performance_tables import table

FIGURES = {
    "average accuracy": "average_accuracy",
    "average incremental": "average_incremental_accuracy",
    "forgetting": "forgetting",
    "task-restricted": "task_restricted_average_accuracy",
}


def ablation_table(path: Path) -> str:
    """Return the variants of each half of the classes, in percent, in the order in which they were run."""
    runs: dict[str, dict[str, list[Json]]] = {}
    for key, figures in json.loads(path.read_text("utf-8")).items():
        half, rest = key.split(", ", 1)
        runs.setdefault(half, {}).setdefault(rest.rpartition(", ")[0], []).append(figures)
    return "\n\n".join(f"{half.capitalize()} half:\n\n{_of_half(variants)}" for half, variants in runs.items())


def _of_half(variants: dict[str, list[Json]]) -> str:
    rows = [
        (name, str(len(found)), *(_cell([each[key] for each in found]) for key in FIGURES.values()))
        for name, found in variants.items()
    ]
    return table(("variant", "orders", *FIGURES), rows, right=set(range(1, 2 + len(FIGURES))))


def _cell(values: list[float]) -> str:
    return mean_and_deviation(Figure.of(values), percent, between=" ")
