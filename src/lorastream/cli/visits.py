"""What came of a visit, and the history of a model, for the terminal and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lorastream.reports.units import NOTHING, duration, percent, size

if TYPE_CHECKING:
    from lorastream.visits.outcome import Visit
    from lorastream.visits.steps import Entry

_NAMED = 6
_ROWS = 12
_OTHER_COLUMNS, _NARROWEST = 54, 12  # columns of a history beside what was done, and those that takes at least
_DATE = 10  # characters of an ISO date up to its day
_ROUNDED = 0.05  # points that one decimal shows as none


def summary(made: Visit, n_known: int) -> list[RenderableType]:
    """Return what is shown after a visit: what was learnt, the figures, what was left out, what was required.

    Args:
        made: the visit.
        n_known: how many classes the model knows after it.
    """
    parts: list[RenderableType] = [_learnt(made, n_known)]
    parts += [_classes_table(made)] if made.new else []
    parts += [_figures(made)]
    parts += _left_out(made)
    if made.suffered:
        parts.append(_suffered_table(made))
    parts += [
        f"Required {verdict.requirement}: {_measured(verdict.value)}, {'holds' if verdict.holds else 'does not hold'}"
        for verdict in made.verdicts
    ]
    return parts


def closing_line(made: Visit, n_known: int) -> str:
    """Return a visit in one sentence."""
    kept = "" if made.is_accepted else " Refused."
    return f"{_learnt(made, n_known)} {_figures(made)}{kept}"


def as_dict(made: Visit) -> dict[str, Any]:
    """Return a visit as plain values: accuracies in [0, 1], what was required in percent or points."""
    return {
        "committed": made.is_accepted,
        **made.step(),
        "old_drop": made.old_drop,
        "broken_files": list(made.broken),
        "not_held_out": list(made.not_held_out),
        "seconds": made.learnt.seconds,
        "suffered": [{"class": name, "before": before, "after": after} for name, before, after in made.suffered],
        "required": [
            {"requirement": str(verdict.requirement), "measured": verdict.value, "holds": verdict.holds}
            for verdict in made.verdicts
        ],
    }


def history_table(entries: Sequence[Entry], *, width: int) -> Table:
    """Return a line for every step; the current one is marked, and one that does not follow on the line above.

    Args:
        entries: oldest first.
        width: of the terminal, in columns.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("step", justify="right", no_wrap=True)
    table.add_column("date (UTC)", no_wrap=True)
    table.add_column("what", overflow="ellipsis", no_wrap=True, max_width=max(width - _OTHER_COLUMNS, _NARROWEST))
    for heading in ("images", "new %", "old %", "classes", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        facts = entry.facts
        style = "bold" if entry.is_current else ""
        table.add_row(
            f"{'*' if entry.is_current else ''}{entry.number}",
            NOTHING if entry.date is None else entry.date[:_DATE],
            _what(entry),
            _number(facts.get("images")),
            percent(facts.get("accuracy_new")),
            percent(facts.get("accuracy_old")),
            str(entry.n_classes),
            size(facts.get("bytes_added")),
            style=style,
        )
    return table


def _what(entry: Entry) -> str:
    facts: Mapping[str, Any] = entry.facts
    branch = f" (on {entry.after})" if entry.after is not None and entry.after != entry.number - 1 else ""
    match entry.kind:
        case "learn":
            return (
                ", ".join([*facts.get("classes", ()), *(f"{name} again" for name in facts.get("again", ()))]) + branch
            )
        case "rename":
            return f"{facts.get('from')} renamed {facts.get('to')}{branch}"
        case "forget-class":
            return f"{facts.get('forgotten')} forgotten{branch}"
        case "save":
            return f"saved{branch}"
        case _:
            return "before the history began"


def _learnt(made: Visit, n_known: int) -> str:
    names = [*made.classes, *(f"{name} (again)" for name in made.again)]
    shown = ", ".join(names[:_NAMED]) + (f", ... ({len(names)} classes)" if len(names) > _NAMED else "")
    verb = "Learnt" if made.is_accepted else "Not taken over:"
    took = (
        f"{duration(made.learnt.seconds)} ({_count(made.settings.epochs, 'epoch')} of batch {made.settings.batch_size})"
    )
    known = _count(n_known, "class", "classes")
    return f"{verb} {shown} from {_count(made.n_train, 'image')} in {took}; {known} known."


def _figures(made: Visit) -> str:
    told: list[str] = []
    if made.new:
        told.append(f"new classes {percent(made.accuracy_new)} % on {_count(made.n_held_out, 'held-out image')}")
    if made.old:
        drop = 100 * (made.old_drop or 0.0)
        change = (
            "no points lost" if abs(drop) < _ROUNDED else f"{'lost' if drop > 0 else 'gained'} {abs(drop):.1f} points"
        )
        told.append(f"old classes {percent(made.accuracy_old)} % ({change}) on {_measured_on(made)}")
    told.append(f"{size(made.bytes_added)} added")
    return f"Accuracy: {'; '.join(told)}." if made.new or made.old else f"No accuracy: {_why_none(made)}; {told[-1]}."


def _measured_on(made: Visit) -> str:
    return (
        f"samples of the {made.old_measured_on}"
        if made.old_measured_on == "feature statistics"
        else f"{made.old_measured_on}"
    )


def _why_none(made: Visit) -> str:
    return "nothing was held out" if not made.n_held_out else "there is nothing to measure it on"


def _left_out(made: Visit) -> list[RenderableType]:
    told: list[RenderableType] = []
    if made.broken:
        more = f"; and {len(made.broken) - _NAMED} more" if len(made.broken) > _NAMED else ""
        told.append(f"Note: {_count(len(made.broken), 'file')} could not be read and were left out:")
        told += [f"  {fault}" for fault in made.broken[:_NAMED]]
        told += [more.removeprefix("; ")] if more else []
    if made.not_held_out:
        names = ", ".join(made.not_held_out[:_NAMED]) + (", ..." if len(made.not_held_out) > _NAMED else "")
        told.append(f"Note: nothing is held out of {names}: the accuracy says nothing about it.")
    if len(made.classes) + len(made.again) == 1 and made.settings.alignment is None:
        told.append("Note: a single class without alignment has nothing to be told from; see docs/learn.md.")
    told += [f"Note: {note}." for note in made.notes]
    return told


def _classes_table(made: Visit) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class", overflow="ellipsis", no_wrap=True, max_width=50)
    table.add_column("accuracy %", justify="right")
    worst = sorted(made.new.items(), key=lambda entry: entry[1])
    for name, accuracy in worst[:_ROWS]:
        table.add_row(Text(name), percent(accuracy))
    if len(worst) > _ROWS:
        table.caption = f"the {_ROWS} worst of {len(worst)} classes"
        table.caption_justify = "left"
    return table


def _suffered_table(made: Visit) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("old class that lost", overflow="ellipsis", no_wrap=True, max_width=40)
    for heading in ("before %", "after %", "points"):
        table.add_column(heading, justify="right")
    for name, before, after in made.suffered[:_ROWS]:
        table.add_row(Text(name), percent(before), percent(after), f"{100 * (after - before):+.1f}")
    if len(made.suffered) > _ROWS:
        table.caption = f"the {_ROWS} largest losses of {len(made.suffered)}"
        table.caption_justify = "left"
    return table


def _measured(value: float | None) -> str:
    return "there are no old classes" if value is None else f"{value:.1f}"


def _number(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
