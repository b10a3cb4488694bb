"""The same figures for documents and for scripts: Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lorastream.reports.groups import group
from lorastream.reports.tables import COLUMNS, closing_line, mean_and_deviation
from lorastream.reports.units import percent
from lorastream.runs import RunRecord


def markdown(records: Sequence[RunRecord]) -> str:
    """Return the closing line, the summary and every accuracy matrix as Markdown; accuracies in percent."""
    return "\n\n".join([closing_line(records), table(records), *map(_matrix, records)]) + "\n"


def table(records: Sequence[RunRecord]) -> str:
    """Return a line of figures for each method as a Markdown table."""
    headings = ["recipe", "method", "seed", *COLUMNS]
    rows = [
        [entry.recipe, entry.label, ", ".join(map(str, entry.seeds))]
        + [mean_and_deviation(entry.figure(number), spelling, between=" ") for number, spelling in COLUMNS.values()]
        for entry in group(records)
    ]
    return grid(headings, rows)


def as_json(records: Sequence[RunRecord]) -> str:
    """Return the groups of runs as JSON: mean and standard deviation over seeds; fractions, bytes, seconds."""
    entries = [
        {
            "recipe": entry.recipe,
            "method": entry.method,
            "runs": [{"id": record.id, "seed": record.seed, "status": record.status} for record in entry.records],
            "tasks": entry.n_tasks,
            **{
                _FIGURES[heading]: {"mean": figure.mean, "standard_deviation": figure.deviation}
                for heading, (number, _) in COLUMNS.items()
                for figure in (entry.figure(number),)
            },
        }
        for entry in group(records)
    ]
    return json.dumps(entries, indent=1, allow_nan=False) + "\n"


_FIGURES = {
    "average accuracy": "average_accuracy",
    "average incremental": "average_incremental_accuracy",
    "forgetting": "forgetting",
    "task-restricted": "task_restricted_average_accuracy",
    "trainable": "trainable_parameters",
    "passes": "inference_passes",
    "stored": "stored_bytes",
    "time": "training_seconds",
}


def _matrix(record: RunRecord) -> str:
    headings = [f"{record.method}, seed {record.seed}", *(f"task {k + 1}" for k in range(len(record.accuracy_matrix)))]
    rows = [
        [f"after task {t + 1}", *map(percent, row), *[""] * (len(record.accuracy_matrix) - t - 1)]
        for t, row in enumerate(record.accuracy_matrix)
    ]
    return grid(headings, rows)


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [headings, [":--", *["--:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
