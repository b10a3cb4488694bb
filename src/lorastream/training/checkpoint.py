"""A model on disk: safetensors, `model.toml` and `classes.json`; no pickle, and never half a model.

`model.toml` holds all there is to know; `classes.json` repeats the class names for readers that have no TOML. Tensor
files are named by their content's hash and written first; `model.toml` names them and is replaced in one rename. So a
folder holds either the old model or the new one, at any instant.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from lorastream.errors import CheckpointError
from lorastream.files import write_atomically

SCHEMA = 2
MANIFEST = "model.toml"
CLASSES = "classes.json"
SUFFIX = ".safetensors"
TENSOR_FILE = re.compile(r"[a-z_]+-[0-9a-f]{12}\.safetensors")


def write_model(
    folder: Path, facts: Mapping[str, Any], classes: list[list[str]], parts: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Write a model.

    Args:
        folder: made where it is not there; an older model in it stays whole until the last moment.
        facts: plain values for `model.toml`: backbone, method, training. None is left out.
        classes: the class names of every task.
        parts: tensors by part: `adapters`, `head`, `method`, ...; parts without tensors are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, str]] = {}
    for part, tensors in parts.items():
        if tensors:
            data = pack_tensors({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
            digest = hashlib.sha256(data).hexdigest()
            files[part] = {"file": f"{part}-{digest[:12]}{SUFFIX}", "sha256": digest}
            if not _is_there(folder / files[part]["file"], digest):
                write_atomically(folder / files[part]["file"], data)
    # The names of the parts stand first and their files last, so that a manifest cut short anywhere is found out.
    manifest = _without_none({"schema": SCHEMA, "parts": sorted(files), **facts, "classes": classes, "files": files})
    write_atomically(folder / MANIFEST, tomli_w.dumps(manifest))
    write_atomically(folder / CLASSES, json.dumps(classes, ensure_ascii=False, indent=1))
    _remove_unnamed(folder, {entry["file"] for entry in files.values()})


def read_model(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Read what `write_model` wrote: the manifest, and the tensors by part.

    Raises:
        CheckpointError: no model there, one of a newer release, or a file that is missing or damaged.
    """
    manifest = _manifest(folder)
    parts: dict[str, dict[str, Tensor]] = {}
    for part, entry in manifest["files"].items():
        parts[part] = _tensors(folder / entry["file"], entry["sha256"])
    return manifest, parts


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            str(folder),
            expected=f"a model folder, with {MANIFEST} in it",
            got="no such folder" if not folder.is_dir() else f"a folder without {MANIFEST}",
            next_step="give the folder that `save` or `run` wrote (runs/<recipe>/<method>/<seed>-<id>/model)",
        )
    try:
        manifest = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    if manifest.get("schema") != SCHEMA:
        raise CheckpointError(
            str(path),
            expected=f"schema {SCHEMA}",
            got=f"schema {manifest.get('schema')}",
            next_step="load it with the release of lorastream that wrote it, or a newer one",
        )
    whole = [part for part, entry in manifest.get("files", {}).items() if {"file", "sha256"} <= entry.keys()]
    if sorted(whole) != manifest.get("parts"):
        raise _damaged(path, f"files of {sorted(whole)}, though it names {manifest.get('parts')}")
    return manifest


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise _damaged(path, "the file is missing")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _damaged(path, f"{len(data)} bytes with another SHA-256")
    try:
        return parse_tensors(data)
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, got: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        expected="the file as it was written",
        got=got,
        next_step="restore the folder from a copy, or learn again",
    )


def _is_there(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _remove_unnamed(folder: Path, named: set[str]) -> None:
    """Remove tensor files of older models; what else may lie in the folder is left alone."""
    for path in folder.glob(f"*{SUFFIX}"):
        if TENSOR_FILE.fullmatch(path.name) and path.name not in named:
            path.unlink(missing_ok=True)


def _without_none(value: Any) -> Any:  # noqa: ANN401 (any plain value)
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return value
