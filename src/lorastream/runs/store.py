"""The run folder: `<root>/<recipe>/<method>/<seed>-<id>/record.json`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from lorastream.errors import CheckpointError, Fault
from lorastream.files import write_atomically
from lorastream.runs.record import SCHEMA, RunRecord
from lorastream.runs.unfinished import fault_of_unfinished, is_unfinished

RECORD = "record.json"
_SHOWN_FAULTS = 5


def new_folder(root: Path | str, record: RunRecord) -> Path:
    """Make and return the folder of a run: `<root>/<recipe>/<method>/<seed>-<id>`; see `claim`."""
    return claim(Path(root) / _name(record.recipe_name) / _name(record.method) / f"{record.seed}-{_name(record.id)}")


def claim(folder: Path) -> Path:
    """Make a folder for a run, where it is not there yet, and return it.

    Raises:
        CheckpointError: it holds a run already, or cannot be made.
    """
    taken = fault_of_taken(folder)
    if taken:
        raise CheckpointError.of([taken])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(
            folder,
            expected="a folder that can be made",
            got=f"{type(error).__name__}: {error.strerror}",
            next_step="choose another folder with --out",
        ) from error
    return folder


def fault_of_taken(folder: Path) -> Fault | None:
    """Return what is wrong with a folder that holds a run already; None of one that does not."""
    if is_unfinished(folder):
        return fault_of_unfinished(folder)
    if not (folder / RECORD).exists():
        return None
    step = "choose another folder with --out, or remove that one"
    return Fault(str(folder), "a folder without a run", f"a {RECORD} of an earlier run", step)


def write(record: RunRecord, folder: Path | str) -> Path:
    """Write the record into the run's folder, atomically, and return the file.

    Raises:
        RunError: it could not be written; an older record there is untouched.
    """
    path = Path(folder) / RECORD
    write_atomically(path, _text(record))
    return path


def read(path: Path | str) -> RunRecord:
    """Read the record of a run.

    Args:
        path: the run's folder, or its record.json.

    Raises:
        CheckpointError: there is none, it is torn, it is not a record, or a newer lorastream wrote it.
    """
    path = Path(path)
    file = path / RECORD if path.is_dir() else path
    document = _document(file)
    schema = document.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise _refused(
            file,
            expected="a run record of lorastream",
            got=f"schema {schema!r}",
            next_step="name a run's folder or its record.json",
        )
    if schema > SCHEMA:
        raise _refused(
            file,
            expected=f"a record of schema {SCHEMA} or older",
            got=f"schema {schema}: written by a newer lorastream",
            next_step="pip install --upgrade lorastream",
        )
    try:
        return RunRecord.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'record'}: {fault['msg']}" for fault in error.errors()]
        more = f"; and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
        raise _refused(
            file,
            expected=f"a record of schema {SCHEMA}",
            got="; ".join(faults[:_SHOWN_FAULTS]) + more,
            next_step="the file was edited by hand or is damaged: run it again",
        ) from error


def find(root: Path | str) -> list[Path]:
    """Return every record.json at or below a folder, sorted; links to folders are not followed.

    Raises:
        CheckpointError: there is no such folder.
    """
    root = Path(root)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise _refused(
            root,
            expected="a folder of runs",
            got="no such folder",
            next_step="lorastream run digits --out " + str(root),
        )
    return sorted(Path(folder) / RECORD for folder, _, files in os.walk(root) if RECORD in files)


def _text(record: RunRecord) -> str:
    """Return the record as JSON that people and diffs can read: a line a key, and one a row, an epoch or a task."""
    lines = (f" {_json(key)}: {_rows(value)}" for key, value in record.to_json().items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rows(value: Any) -> str:  # noqa: ANN401 any JSON value
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return "[\n  " + ",\n  ".join(map(_json, cast("list[Any]", value))) + "\n ]"
    return _json(value)


def _json(value: Any) -> str:  # noqa: ANN401 any JSON value
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise _refused(
            file, expected="a run record", got="no such file", next_step="name a run's folder or its record.json"
        ) from error
    except OSError as error:
        raise _refused(
            file, expected="a run record", got=f"{error.strerror}", next_step="check the path and its permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _refused(
            file,
            expected="a JSON document",
            got=f"a torn or foreign file: {error}",
            next_step="name a run's folder; if this was its record, restore it from a copy or run again",
        ) from error
    if not isinstance(document, dict):
        raise _refused(
            file,
            expected="a JSON object",
            got=type(document).__name__,
            next_step="name a run's folder or its record.json",
        )
    return document


def _refused(file: Path, *, expected: str, got: str, next_step: str) -> CheckpointError:
    return CheckpointError(str(file), expected=expected, got=got, next_step=next_step)


def _name(text: str) -> str:
    """Return the text as one safe folder name."""
    return re.sub(r"[^\w.+-]+", "_", text).strip(".") or "unnamed"
