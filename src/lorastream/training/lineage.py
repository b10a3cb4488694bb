"""The steps that led to what a model is now, and by what names its classes went then. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorastream.training.manifest import Step, history


def lineage(folder: Path) -> list[Step]:
    """Return the steps that led to the current one, itself the last; those that were gone back from are left out.

    Raises:
        CheckpointError: no model there, or a manifest is damaged.
    """
    steps = {step.number: step for step in history(folder)}
    found = [step for step in steps.values() if step.is_current][-1:]
    while (before := table(found[0]).get("after")) in steps and before not in {step.number for step in found}:
        found.insert(0, steps[before])
    return found


def table(step: Step) -> dict[str, Any]:
    """Return what a manifest says of its step; nothing where it was made without."""
    return step.manifest.get("step", {})


def names_now(steps: Sequence[Step]) -> list[dict[str, str]]:
    """Return for each step of a lineage the names that its classes had then -> those that they have now.

    Classes that were forgotten since are left out.
    """
    known = {name: name for name in class_names(steps[-1])}
    found = [known]
    for step in reversed(steps[1:]):
        own = table(step)
        renamed = {own["to"]: own["from"]} if own.get("kind") == "rename" else {}
        known = {renamed.get(then, then): now for then, now in known.items()}
        found.insert(0, known)
    kept = zip(steps, found, strict=True)
    return [{then: now for then, now in names.items() if then in class_names(step)} for step, names in kept]


def accuracy_when_learnt(steps: Sequence[Step]) -> dict[str, tuple[int, float]]:
    """Return of each class, by its name now, the step it was learnt in and its held-out accuracy then, in [0, 1]."""
    found: dict[str, tuple[int, float]] = {}
    for step, names in zip(steps, names_now(steps), strict=True):
        for then, accuracy in table(step).get("accuracy_of_class", {}).items():
            if then in names:
                found.setdefault(names[then], (step.number, accuracy))
    return found


def class_names(step: Step) -> list[str]:
    """Return the classes known at a step, by label."""
    return [name for task in step.manifest["classes"] for name in task]
