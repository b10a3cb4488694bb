"""A comparison for documents and for scripts: Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lorastream.reports.comparison.columns import cells, closing_notes, columns, footnotes, overview
from lorastream.reports.comparison.compare import Comparison, Row, Setting
from lorastream.reports.comparison.settings import own_settings
from lorastream.reports.groups import training_seconds
from lorastream.reports.tables import Number
from lorastream.reports.text import grid
from lorastream.runs import RunRecord

FIGURES: dict[str, Number] = {
    "average_accuracy": lambda record: record.average_accuracy,
    "average_accuracy_by_image": lambda record: record.average_accuracy_by_image,
    "average_incremental_accuracy": lambda record: record.average_incremental_accuracy,
    "forgetting": lambda record: record.forgetting,
    "task_restricted_average_accuracy": lambda record: record.task_restricted_average_accuracy,
    "trainable_parameters": lambda record: record.trainable_parameters,
    "stored_bytes": lambda record: record.stored_bytes,
    "training_seconds": training_seconds,
}
"""What CSV and JSON tell of a line, under the record's names: mean and standard deviation over seeds."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "−": "$-$",  # noqa: RUF001 the minus of our tables
    "–": "--",  # noqa: RUF001 the dash of our tables
}


def markdown(comparison: Comparison) -> str:
    """Return the tables as Markdown, each under the name of its setting, with its footnotes; accuracies in percent."""
    parts: list[str] = []
    if len(comparison.settings) > 1:
        parts += ["### Average accuracy", grid(*overview(comparison))]
    for setting in comparison.settings:
        parts += [f"### {setting.name}", markdown_table(setting), _listed(footnotes(setting))]
    return "\n\n".join([part for part in [*parts, _listed(closing_notes(comparison))] if part]) + "\n"


def markdown_table(setting: Setting) -> str:
    """Return one table as Markdown, without its footnotes."""
    chosen = columns(setting)
    return grid([column.heading for column in chosen], cells(setting, chosen))


def latex(comparison: Comparison) -> str:
    """Return the tables as LaTeX, for the packages booktabs and threeparttable; accuracies in percent."""
    parts: list[str] = []
    if len(comparison.settings) > 1:
        headings, rows = overview(comparison)
        parts.append(_latex_table("Average accuracy, percent", headings, rows, closing_notes(comparison)))
    for setting in comparison.settings:
        chosen = columns(setting)
        headings = [column.heading for column in chosen]
        parts.append(_latex_table(setting.name, headings, cells(setting, chosen), footnotes(setting)))
    return "\n".join(parts)


def as_csv(comparison: Comparison) -> str:
    """Return a line a method and table, every number in full: fractions, bytes, seconds; empty where there is none."""
    entries = [_flat(entry) for entry in _entries(comparison)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for entry in entries for key in entry)))
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue().replace("\r\n", "\n")


def as_json(comparison: Comparison) -> str:
    """Return all of it as JSON: fractions, bytes, seconds."""
    document = {
        "settings": [
            {
                "name": setting.name,
                "reference": setting.reference,
                "lines": [_entry(setting, row) for row in setting.rows],
                "left_out": setting.left_out,
                "remarks": footnotes(setting),
            }
            for setting in comparison.settings
        ],
        "mean_ranks": dict(comparison.mean_ranks),
        "left_out": comparison.left_out,
        "remarks": closing_notes(comparison),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def latex_escaped(text: str) -> str:
    """Return a text in which nothing is a command of LaTeX."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _entries(comparison: Comparison) -> list[dict[str, Any]]:
    return [_entry(setting, row) for setting in comparison.settings for row in setting.rows]


def _entry(setting: Setting, row: Row) -> dict[str, Any]:
    figures = {name: asdict(row.figure(number)) for name, number in FIGURES.items()}
    published = None if row.published is None else asdict(row.published)
    return {
        "setting": setting.name,
        "recipe": row.records[0].recipe_name,
        "method": row.method,
        "seeds": row.seeds,
        "runs": [_run(record) for record in row.records],
        "rank": row.rank,
        "settings": own_settings(row.records[0]),
        **{name: {"mean": f["mean"], "standard_deviation": f["deviation"]} for name, f in figures.items()},
        "reference": None if row.versus is None else setting.reference,
        "versus": None if row.versus is None else {**asdict(row.versus), "is_significant": row.versus.is_significant},
        "published": published,
    }


def _run(record: RunRecord) -> dict[str, Any]:
    return {"id": record.id, "seed": record.seed, "average_accuracy": record.average_accuracy}


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as one line: lists joined by blanks, what is inside a table under "outer_inner"."""
    flat: dict[str, Any] = {}
    nested = {**entry, "versus": entry["versus"] or _EMPTY_VERSUS, "published": entry["published"] or _EMPTY_PUBLISHED}
    for key, value in nested.items():
        if key in {"settings", "runs"}:
            continue
        if isinstance(value, dict):
            flat |= {f"{key}_{inner}": _joined(each) for inner, each in value.items()}
        else:
            flat[key] = _joined(value)
    return flat


_EMPTY_VERSUS = dict.fromkeys(("pairs", "difference", "p", "p_corrected", "can_be_significant", "is_significant"))
_EMPTY_PUBLISHED = dict.fromkeys(("accuracy", "spread", "source", "by_image", "departures"))


def _joined(value: Any) -> Any:  # noqa: ANN401 any plain value
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _listed(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def _latex_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\begin{threeparttable}",
        rf"\caption{{{latex_escaped(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        _latex_row(headings),
        r"\midrule",
        *map(_latex_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(
            [
                r"\begin{tablenotes}\footnotesize",
                *(rf"\item {latex_escaped(note)}" for note in notes),
                r"\end{tablenotes}",
            ]
            if notes
            else []
        ),
        r"\end{threeparttable}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join(map(latex_escaped, row)) + r" \\"
