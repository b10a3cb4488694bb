"""Whether a folder holds a run that can be analysed; loads no torch, so that a mistake is told at once."""

from __future__ import annotations

from pathlib import Path

from lorastream.errors import CheckpointError
from lorastream.runs import store
from lorastream.runs.record import RunRecord

MODEL = "model"
"""The folder of a run's model, as `experiment` writes it."""


def finished_record(folder: Path) -> RunRecord:
    """Read the record of a run that finished.

    Raises:
        CheckpointError: there is none, or the run did not finish, or its model is gone.
    """
    record = store.read(folder)
    place = folder if folder.is_dir() else folder.parent
    if record.status != "finished" or not record.accuracy_matrix:
        reason = f": {record.failure.splitlines()[0]}" if record.failure else ""
        raise CheckpointError(
            str(folder),
            expected="a run that finished",
            got=f"one that is {record.status}, {len(record.accuracy_matrix)} tasks learnt{reason}",
            next_step="let it finish, or run it again" + (f": {record.command}" if record.command else ""),
        )
    if not (place / MODEL).is_dir():
        raise CheckpointError(
            str(place / MODEL),
            expected="the model that the run ended with",
            got="no such folder",
            next_step="copy it back, or run it again" + (f": {record.command}" if record.command else ""),
        )
    return record
