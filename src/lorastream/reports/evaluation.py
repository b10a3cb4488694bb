"""What an evaluation on a folder found, for the terminal: tables cut to a screen; all of it is in the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lorastream.reports.units import NOTHING, percent

_WORST, _PAIRS, _HURT, _SKIPPED, _TASKS = 10, 5, 10, 5, 20
_LONGEST_CLASSES = 34  # columns of a task's class names


def shown(document: Mapping[str, Any], *, quiet: bool = False) -> list[RenderableType]:
    """Return what to show of the document that `lorastream evaluate --json` prints.

    Args:
        document: figures as fractions.
        quiet: the first line alone.
    """
    parts: list[RenderableType] = [_headline(document)]
    if quiet:
        return parts
    if len(document["tasks"]) > 1:
        parts += _tasks(document["tasks"])
    parts += [*_classes(document), *_pairs(document["confused"]), *_hurt(document["history"])]
    skipped = document["skipped"]
    if skipped:
        parts += [
            f"{len(skipped):,} left out, as they cannot be decoded:",
            *(f"  {told}" for told in skipped[:_SKIPPED]),
        ]
        parts += _more(len(skipped), _SKIPPED)
    return parts


def _headline(document: Mapping[str, Any]) -> str:
    number = len(document["confusion"]["classes"])
    calibrated = "" if document["is_calibrated"] else " (the model was never calibrated: `lorastream learn` does)"
    return (
        f"{percent(document['accuracy'])} % of {document['images']:,} pictures right, among {number} classes; "
        f"expected calibration error {percent(document['expected_calibration_error'])} points{calibrated}."
    )


def _tasks(tasks: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    table = _table("task", "classes", "pictures", "right %", "with the\ntask given %")
    for task in tasks[:_TASKS]:
        figures = (percent(task["accuracy"]), percent(task["task_restricted_accuracy"]))
        table.add_row(str(task["task"]), Text(_listed(task["classes"])), f"{task['images']:,}", *figures)
    return [table, *_more(len(tasks), _TASKS)]


def _listed(names: Sequence[str]) -> str:
    """Return names as far as they fit, and how many there are where they do not."""
    told = ", ".join(names)
    if len(told) <= _LONGEST_CLASSES:
        return told
    number = f" ... ({len(names)})"
    return told[: _LONGEST_CLASSES - len(number)].rstrip(", ") + number


def _classes(document: Mapping[str, Any]) -> list[RenderableType]:
    entries, confused = document["classes"], document["confused"]
    mostly = {pair["class"]: pair for pair in reversed(confused)}
    table = _table("worst classes", "pictures", "right %", "mostly taken for", first_is_text=True)
    for entry in entries[:_WORST]:
        pair = mostly.get(entry["name"])
        taken = f"{pair['taken_for']} ({pair['images']:,})" if pair else NOTHING
        table.add_row(Text(entry["name"]), f"{entry['images']:,}", percent(entry["accuracy"]), Text(taken))
    return [table, *_more(len(entries), _WORST)]


def _pairs(confused: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    if not confused:
        return ["No class was taken for another."]
    told = (f"{pair['class']} for {pair['taken_for']} {pair['images']:,}" for pair in confused[:_PAIRS])
    return [f"Most often confused: {', '.join(told)}."]


def _hurt(history: Mapping[str, Any]) -> list[RenderableType]:
    if not history["accuracies"]:
        return ["The model's history tells no accuracies: it was not made by `learn`. So nothing to compare with."]
    if not history["hurt"]:
        return [f"No class is worse than when it was learnt (on {history['measured_on']})."]
    table = _table(
        "worse than when learnt", "learnt in\nstep", "then %", "now %", "lost most\nin step", first_is_text=True
    )
    for loss in history["hurt"][:_HURT]:
        worst = NOTHING if loss["worst_step"] is None else str(loss["worst_step"])
        figures = (percent(loss["then"]), percent(loss["now"]), worst)
        table.add_row(Text(loss["name"]), str(loss["learnt_in"]), *figures)
    lines: list[RenderableType] = [table, *_more(len(history["hurt"]), _HURT)]
    if history["hurt"][0]["worst_step"] is None:
        lines += [f"Then: on {history['measured_on']}. Which step hurt it, on these pictures: add --history."]
    return lines


def _table(*headings: str, first_is_text: bool = False) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    texts = {"classes", "mostly taken for", *([headings[0]] if first_is_text else [])}
    for heading in headings:
        if heading in texts:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    return table


def _more(number: int, shown_at_most: int) -> list[RenderableType]:
    return [f"... {number - shown_at_most:,} more: --json has all"] if number > shown_at_most else []
