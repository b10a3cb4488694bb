"""What the folder of a planned run holds already."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lorastream.errors import CheckpointError, Fault
from lorastream.runs import store, unfinished
from lorastream.runs.record import RunRecord
from lorastream.suites.plan import PlannedRun

Found = Literal["nothing", "unfinished", "finished"]

_SHOWN = 4


def found_in(folder: Path) -> Found:
    """Say whether a folder holds no run, one that did not finish, or one that did.

    Raises:
        CheckpointError: its record cannot be read.
    """
    return _told(_record_in(folder))


def found_in_all(runs: Iterable[PlannedRun]) -> dict[Path, Found]:
    """Say what the folder of every run holds.

    Raises:
        CheckpointError: all at once: records that cannot be read, and those of runs with other settings.
    """
    found: dict[Path, Found] = {}
    faults: list[Fault] = []
    for run in runs:
        try:
            record = _record_in(run.folder)
            found[run.folder] = _told(record)
            faults += _of_other_settings(run, record) if record else []
        except CheckpointError as error:
            faults += error.faults
    if faults:
        raise CheckpointError.of(faults)
    return found


def _record_in(folder: Path) -> RunRecord | None:
    return store.read(folder) if (folder / store.RECORD).exists() else None


def _told(record: RunRecord | None) -> Found:
    if record is None:
        return "nothing"
    return "finished" if record.status == "finished" else "unfinished"


def _of_other_settings(run: PlannedRun, record: RunRecord) -> list[Fault]:
    """Return a fault where the record is of other settings than the suite asks for; where data lie does not count."""
    changed = unfinished.differences(record.recipe, run.settings.resolved())
    if not changed:
        return []
    told = "; ".join(changed[:_SHOWN]) + (f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
    step = "choose another root for the suite, or remove that folder to run it again"
    return [Fault(str(run.folder), "a run with the settings of the suite", told, step)]
