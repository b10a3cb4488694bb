"""The manifest of a model folder and its past; read and rewritten without torch.

`model.toml` is what the model is. A folder may keep its past: `history/0001.toml`, `history/0002.toml`, ... are whole
copies of `model.toml`, one for each step, and every tensor file that one of them names stays. Going back is writing
that copy again, byte for byte; the later steps stay, and the next one has the next free number. A folder without a
history is a model of one step.

A step is written after its tensors and before `model.toml`. So a kill between the two leaves the old model, and beside
it a step that is whole and can be gone to.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

from lorastream.errors import CheckpointError, LorastreamError
from lorastream.files import make_folder, write_atomically
from lorastream.training.manifest_form import TENSOR_FILE, fault_of_form

SCHEMA = 2
MANIFEST = "model.toml"
CLASSES = "classes.json"
HISTORY = "history"
SUFFIX = ".safetensors"
STEP_FILE = re.compile(r"(\d{4,})\.toml")
_OF_THE_FOLDER = frozenset({"schema", "parts", "classes", "files", "step"})


@dataclass(frozen=True, kw_only=True)
class Step:
    """One state that a model was in.

    Attributes:
        number: from 1, in order of time.
        manifest: all of its `model.toml`; the table `step`, where there is one, says how it came about.
        is_current: whether the model is in this state now.
        path: the file that the manifest stands in.
    """

    number: int
    manifest: dict[str, Any]
    is_current: bool
    path: Path


def rewrite_manifest(folder: Path, changes: Mapping[str, Any], *, step: Mapping[str, Any]) -> None:
    """Write the model's manifest with some of its keys changed, as a step; tensors are left alone.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        RunError: the disk is full or the folder cannot be written; what stood there is untouched.
    """
    commit(folder, {**read_manifest(folder), **changes}, step)


def read_manifest(folder: Path, *, step: int | None = None) -> dict[str, Any]:
    """Read a model's manifest without its tensors.

    Raises:
        CheckpointError: no model there, no such step, one of a newer release, or a manifest that is damaged.
    """
    return _manifest(folder / MANIFEST) if step is None else _step(folder, step).manifest


def history(folder: Path) -> list[Step]:
    """Return the steps of a model, oldest first; of a model without a history the only one.

    Raises:
        CheckpointError: no model there, or a manifest is damaged.
    """
    current = _manifest(folder / MANIFEST)
    content = (folder / MANIFEST).read_bytes()
    steps = [
        Step(number=number, manifest=_manifest(path), is_current=path.read_bytes() == content, path=path)
        for number, path in _step_files(folder).items()
    ]
    if not any(step.is_current for step in steps):
        number = max((step.number for step in steps), default=0) + 1
        steps.append(Step(number=number, manifest=current, is_current=True, path=folder / MANIFEST))
    return steps


def restore(folder: Path, number: int) -> dict[str, Any]:
    """Put a model back into the state of a step, bit for bit, and return its manifest; the other steps stay.

    Raises:
        CheckpointError: no model there, no such step, or a file of it is missing or damaged; nothing has changed then.
        RunError: the disk is full or the folder cannot be written; the model is the old one.
    """
    step = _step(folder, number)
    for entry in step.manifest["files"].values():
        tensor_bytes(folder / entry["file"], entry["sha256"])
    if not step.is_current:
        content = step.path.read_bytes()
        _keep_current(folder)
        write_atomically(folder / MANIFEST, content)
        write_atomically(folder / CLASSES, _classes_json(step.manifest["classes"]))
    return step.manifest


def facts_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a manifest: what `write_model` was given beside classes, parts and step."""
    return {key: value for key, value in manifest.items() if key not in _OF_THE_FOLDER}


def commit(folder: Path, content: Mapping[str, Any], step: Mapping[str, Any] | None) -> None:
    """Write a manifest, as a step where one is given or the folder has a history, and clear away what none names.

    Args:
        folder: of the model; its tensor files lie there already.
        content: facts, `classes` and `files`.
        step: how the model came about.

    Raises:
        CheckpointError: the folder's older manifest is damaged.
        RunError: the disk is full or the folder cannot be written; the model is the old one.
    """
    files: Mapping[str, Mapping[str, str]] = content["files"]
    facts = {"schema": SCHEMA, "parts": sorted(files), **facts_of(content), "classes": content["classes"]}
    manifest = _without_none(facts)
    if step is None and _step_files(folder):
        if _without_step(folder) == {**manifest, "files": _without_none(files)}:
            return
        step = {"kind": "save"}
    number = None if step is None else _keep_current(folder) + 1
    if number is not None:
        manifest["step"] = _without_none({"number": number, **_origin(folder), **(step or {})})
    # The names of the parts stand first and their files last, so that a manifest cut short anywhere is found out.
    text = tomli_w.dumps({**manifest, "files": _without_none(files)})
    if number is not None:
        make_folder(folder / HISTORY)
        write_atomically(folder / HISTORY / f"{number:04}.toml", text)
    write_atomically(folder / MANIFEST, text)
    write_atomically(folder / CLASSES, _classes_json(content["classes"]))
    _remove_unnamed(folder, {entry["file"] for entry in files.values()})


def _origin(folder: Path) -> dict[str, Any]:
    """Return the date, and the step that the model was in before; nothing of that where there was no model."""
    date = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    if not (folder / MANIFEST).is_file():
        return {"date": date}
    return {"date": date, "after": next(step.number for step in history(folder) if step.is_current)}


def _keep_current(folder: Path) -> int:
    """See that the current manifest is in the history, if there is one; return the highest number of the history."""
    numbers = _step_files(folder)
    last = max(numbers, default=0)
    path = folder / MANIFEST
    if not path.is_file():
        return last
    content = path.read_bytes()
    if any(kept.read_bytes() == content for kept in numbers.values()):
        return last
    _manifest(path)
    make_folder(folder / HISTORY)
    write_atomically(folder / HISTORY / f"{last + 1:04}.toml", content)
    return last + 1


def _without_step(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = _manifest(folder / MANIFEST)
    except CheckpointError:
        return None
    return {key: value for key, value in manifest.items() if key != "step"}


def _step(folder: Path, number: int) -> Step:
    steps = {step.number: step for step in history(folder)}
    if number in steps:
        return steps[number]
    raise CheckpointError(
        f"{folder}, step {number}",
        expected="1, the only one" if len(steps) == 1 else f"a step of its history: {min(steps)} to {max(steps)}",
        got=str(number),
        next_step=f"list the steps: lorastream history {folder}",
    )


def _step_files(folder: Path) -> dict[int, Path]:
    """Return the files of the history by number, in order."""
    found = ((STEP_FILE.fullmatch(path.name), path) for path in (folder / HISTORY).glob("*.toml"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def _manifest(path: Path) -> dict[str, Any]:
    folder = path.parent
    try:
        manifest = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            str(folder),
            expected=f"a model folder, with {path.name} in it",
            got="no such folder" if not folder.is_dir() else f"a folder without {path.name}",
            next_step="give the folder that `save` or `run` wrote (runs/<recipe>/<method>/<seed>-<id>/model)",
        ) from error
    except OSError as error:
        raise damaged(path, error.strerror or str(error), next_step="see that you may read it") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, lists in one another without end
        raise damaged(path, str(error)) from error
    if manifest.get("schema") != SCHEMA:
        raise CheckpointError(
            str(path),
            expected=f"schema {SCHEMA}",
            got=f"schema {manifest.get('schema')}",
            next_step="load it with the release of lorastream that wrote it, or a newer one",
        )
    fault = fault_of_form(manifest)
    if fault:
        raise damaged(path, fault)
    return manifest


def tensor_bytes(path: Path, sha256: str) -> bytes:
    """Return the content of a tensor file.

    Raises:
        CheckpointError: it is missing, or has another SHA-256.
    """
    if not path.is_file():
        raise damaged(path, "the file is missing")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise damaged(path, f"{len(data)} bytes with another SHA-256")
    return data


def damaged(
    path: Path, got: str, *, next_step: str = "restore the folder from a copy, or learn again"
) -> CheckpointError:
    """Return the error of a file that is not as it was written."""
    return CheckpointError(str(path), expected="the file as it was written", got=got, next_step=next_step)


@contextmanager
def taken_as_written(folder: Path) -> Generator[None]:
    """Tell of a manifest whose values are of another kind than was ever written, where something is made of them.

    Raises:
        CheckpointError: what is made of the model's facts fails on them.
    """
    try:
        yield
    except LorastreamError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise damaged(folder / MANIFEST, f"values that make no model: {type(error).__name__}: {error}") from error


def _classes_json(classes: Iterable[Iterable[str]]) -> str:
    return json.dumps(classes, ensure_ascii=False, indent=1)


def _remove_unnamed(folder: Path, named: set[str]) -> None:
    """Remove tensor files that no step names; what else may lie in the folder is left alone."""
    try:
        kept = [_manifest(path) for path in _step_files(folder).values()]
    except CheckpointError:
        return  # what a damaged step names is not known
    named = named.union(*({entry["file"] for entry in manifest["files"].values()} for manifest in kept))
    for path in folder.glob(f"*{SUFFIX}"):
        if TENSOR_FILE.fullmatch(path.name) and path.name not in named:
            path.unlink(missing_ok=True)


def _without_none(value: Any) -> Any:  # noqa: ANN401 (any plain value)
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return value
