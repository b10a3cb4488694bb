"""The tables of docs/performance.md, from what the benchmarks wrote; `scripts/refresh_tables.py` puts them there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from measuring import Json
from networks import TITLES
from targets import verdicts

SMALL = 1e-5
"""An error below it is float32's, of which there is nothing to say."""


def targets_table(folder: Path) -> str:
    """Return every target with what was measured, the bound, and whether it is met; and what was measured apart."""
    results = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    parts = [_verdicts(results)]
    for apart in _apart(folder):
        title = ", ".join(apart["shapes"].values())
        parts.append(f"Measured apart, {title}:\n\n" + _verdicts({"step_cost": apart}, measured_only=True))
    return "\n\n".join(parts)


def steps_table(folder: Path) -> str:
    """Return every measured step: its time, over the floor's, and what it saves for the backward pass."""
    memory = _read(folder / "memory.json")
    saved = {_key(row): row["saved_bytes"] / row["batch"] for row in memory["rows"]}
    parts: list[str] = []
    runs = [_read(folder / "step_cost.json"), *_apart(folder)]
    measured = [(run, *item, kind) for run in runs for item in run["shapes"].items() for kind in run["precisions"]]
    for cost, shape, title, precision in measured:
        rows = [
            (
                row["method"] + (f", released way, batch {row['batch']}" if row["looped"] else ""),
                f"{row['tasks']:,}" if row["tasks"] else "",
                f"{row['milliseconds']:,.0f}",
                f"{row['over_floor']:.3f}" if "over_floor" in row else "",
                f"{saved[_key(row)] / 1e6:.2f}" if _key(row) in saved else "",
            )
            for row in cost["rows"]
            if (row["shape"], row["precision"]) == (shape, precision)
        ]
        headings = ("step", "tasks", "ms", "over the floor", "saved, MB an image")
        parts.append(f"{title}, {precision}:\n\n" + table(headings, rows, right={1, 2, 3, 4}))
    return "\n\n".join(parts)


def attention_table(folder: Path) -> str:
    """Return attention's two ways: their times, and the worst error of a gradient against float64."""
    rows = [
        (
            TITLES[row["shape"]],
            row["precision"],
            row["what"],
            row["way"],
            f"{row['milliseconds']:,.0f}",
            f"{row['error']:.2%}" if row.get("error", 0) > SMALL else "",
        )
        for row in _read(folder / "attention.json")["rows"]
    ]
    headings = ("", "", "", "backward pass", "ms", "error")
    return table(headings, rows, right={4, 5})


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: set[int]) -> str:
    """Return a Markdown table; the numbers of `right` are the columns that stand to the right."""
    marks = ["--:" if column in right else ":--" for column in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, marks, *rows))


def _verdicts(results: Mapping[str, Json], *, measured_only: bool = False) -> str:
    lines = [(number, what.replace("\n  ", " "), *rest) for number, what, *rest in verdicts(results)]
    shown = [line for line in lines if line[-1] != "not measured" or not measured_only]
    return table(("", "target, at its worst measurement", "measured", "bound", ""), shown, right={2, 3})


def _apart(folder: Path) -> list[Json]:
    """Return what was measured of steps in runs of their own, such as at another batch or of all blocks."""
    found = {path for kind in ("batch", "whole") for path in folder.glob(f"step_cost_*{kind}*.json")}
    return [_read(path) for path in sorted(found)]


def _key(row: Json) -> tuple[str, str, str, bool, int]:
    return row["shape"], row["precision"], row["method"], row["looped"], row["tasks"]


def _read(path: Path) -> Json:
    return json.loads(path.read_text("utf-8"))
