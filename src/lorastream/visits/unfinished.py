"""Visits that were stopped before their end: found without torch.

Their states lie in the model's folder, in `resume`, where no reader of the model looks. The model itself stays what it
was until a visit is complete.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lorastream.runs.unfinished import RESUME, facts_of, state_files, stopped_at
from lorastream.training.manifest import MANIFEST


def manifest_hash(folder: Path) -> str:
    """Return the SHA-256 of a model's manifest; empty where there is no model yet."""
    path = folder / MANIFEST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def stopped(folder: Path) -> str | None:
    """Return what was stopped in a model's folder: "photos, after 1 epoch and 7 steps"; None where nothing was.

    States of a visit that is over are left out: a kill may leave some behind when the model has just been written.
    """
    found: list[dict[str, Any]] = []
    for path in state_files(folder / RESUME).values():
        try:
            found.append(facts_of(path))
        except (OSError, ValueError):
            continue
    begun = next((facts for facts in reversed(found) if "visit" in facts), None)
    if begun is None or begun.get("manifest") != manifest_hash(folder):
        return None
    where = stopped_at(found[-1]).partition(", ")[2] or "at its beginning"
    return f"{begun['visit'].get('source')}, {where}"


def drop(folder: Path) -> None:
    """Remove the states of a visit from a model's folder."""
    for path in reversed(state_files(folder / RESUME).values()):
        path.unlink(missing_ok=True)
    place = folder / RESUME
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()
