"""The steps of a model: listed, gone back to, and those that teach nothing: renaming and forgetting a class.

Loads no torch, but to forget: the history of a model is read from its manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorastream.data.images import check_class_names
from lorastream.errors import DataError, unknown_name
from lorastream.training import manifest


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a history.

    Attributes:
        number: of the step, from 1.
        is_current: whether the model is in this state now.
        after: the step that it was made from; None for the first.
        date: UTC, ISO 8601; None where it was not kept, as for a model that `run` wrote.
        kind: `learn`, `rename`, `forget-class`, `save`, or `run`.
        facts: the whole table `step` of its manifest.
        n_classes: how many the model knew then.
    """

    number: int
    is_current: bool
    after: int | None
    date: str | None
    kind: str
    facts: Mapping[str, Any]
    n_classes: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return {
            **self.facts,
            "number": self.number,
            "current": self.is_current,
            "after": self.after,
            "date": self.date,
            "kind": self.kind,
            "classes_known": self.n_classes,
        }


def history(folder: str | Path) -> list[Entry]:
    """Return the steps of a model, oldest first.

    Raises:
        CheckpointError: no model there, or a manifest is damaged.
    """
    return [_entry(step) for step in manifest.history(Path(folder))]


def rollback(folder: str | Path, number: int) -> Entry:
    """Put a model back into the state of a step, bit for bit; the other steps stay and can be gone to as well.

    Raises:
        CheckpointError: no model there, no such step, or a file of it is missing or damaged; nothing has changed then.
        RunError: the disk is full or the folder cannot be written; the model is the old one.
    """
    manifest.restore(Path(folder), number)
    return next(entry for entry in history(folder) if entry.is_current)


def rename(folder: str | Path, old: str, new: str) -> Entry:
    """Give a class another name; the labels and all that was learnt stay.

    Raises:
        DataError: no such class, or the new name is taken or empty.
        CheckpointError: no model there, or it is damaged.
        RunError: the disk is full or the folder cannot be written; the model is the old one.
    """
    classes = _classes_with(folder, old)
    renamed = [[new if name == old else name for name in task] for task in classes]
    check_class_names([name for task in renamed for name in task], where=f"rename {old!r} to {new!r}")
    if old == new:
        raise DataError("rename", expected="another name", got=repr(new), next_step="give the class a new name")
    manifest.rewrite_manifest(Path(folder), {"classes": renamed}, step={"kind": "rename", "from": old, "to": new})
    return history(folder)[-1]


def forget_class(folder: str | Path, name: str) -> Entry:
    """Drop a class: its name, its row of the head and its statistics; the model can no longer answer with it.

    What the adapters learnt from its images is mixed with what they learnt from others, and stays. Steps before this
    one still hold the class.

    Raises:
        DataError: no such class, or it is the only one.
        CheckpointError: no model there, or it is damaged.
        RunError: the disk is full or the folder cannot be written; the model is the old one.
    """
    classes = _classes_with(folder, name)
    names = [known for task in classes for known in task]
    if len(names) == 1:
        raise DataError(
            f"forget-class {name!r}",
            expected="a model that knows other classes too",
            got="its only class",
            next_step="remove the model's folder, or go back: lorastream rollback",
        )
    from lorastream.visits.forget import without_class

    found, parts = without_class(Path(folder), names.index(name))
    remaining = [[known for known in task if known != name] for task in classes]
    from lorastream.training.checkpoint import write_model

    step = {"kind": "forget-class", "forgotten": name}
    write_model(Path(folder), manifest.facts_of(found), remaining, parts, step=step)
    return history(folder)[-1]


def _classes_with(folder: str | Path, name: str) -> list[list[str]]:
    """Return the class names of every task.

    Raises:
        DataError: the name is not among them.
    """
    classes: list[list[str]] = manifest.read_manifest(Path(folder))["classes"]
    known = [own for task in classes for own in task]
    if name not in known:
        raise DataError.of([unknown_name(f"model {folder}", kind="class of the model", got=name, choices=known)])
    return classes


def _entry(step: manifest.Step) -> Entry:
    facts: dict[str, Any] = step.manifest.get("step", {})
    return Entry(
        number=step.number,
        is_current=step.is_current,
        after=facts.get("after"),
        date=facts.get("date"),
        kind=facts.get("kind", "run"),
        facts=facts,
        n_classes=sum(len(task) for task in step.manifest["classes"]),
    )
