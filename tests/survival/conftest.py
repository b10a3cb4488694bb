"""What a run came to: the bytes of its model and the figures of its record, without times, ids and dates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MEASURED = (
    *("id", "started", "finished", "command", "notes", "versions", "recipe", "device"),
    *("seconds_per_task", "evaluation_seconds_per_task", "step_milliseconds_per_task"),
    *("peak_memory_bytes", "peak_memory_bytes_per_task"),
)
"""What differs between two runs of the same recipe, and what says on which machine it was."""


def outcome(folder: Path) -> dict[str, Any]:
    """Return what two runs of the same recipe have in common: figures by key, and the hash of every model file."""
    record = json.loads((folder / "record.json").read_bytes())
    figures = {key: value for key, value in record.items() if key not in MEASURED}
    models = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "model").rglob("*"))
        if path.is_file()
    }
    return {**figures, **models, "files": sorted(path.name for path in folder.iterdir())}


@pytest.fixture(name="outcome")
def _outcome() -> Callable[[Path], dict[str, Any]]:
    return outcome
