"""A model on disk: safetensors, `model.toml` and `classes.json`; no pickle, and never half a model.

`model.toml` holds all there is to know; `classes.json` repeats the class names for readers that have no TOML. Tensor
files are named by their content's hash and written first; `model.toml` names them and is replaced in one rename. So a
folder holds either the old model or the new one, at any instant. How a folder keeps its past: `training.manifest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from lorastream.files import make_folder, write_atomically
from lorastream.training.manifest import SUFFIX, commit, damaged, read_manifest, tensor_bytes


def write_model(
    folder: Path,
    facts: Mapping[str, Any],
    classes: list[list[str]],
    parts: Mapping[str, Mapping[str, Tensor]],
    *,
    step: Mapping[str, Any] | None = None,
) -> None:
    """Write a model.

    Args:
        folder: made where it is not there; an older model in it stays whole until the last moment.
        facts: plain values for `model.toml`: backbone, method, training. None is left out.
        classes: the class names of every task.
        parts: tensors by part: `adapters`, `head`, `method`, ...; parts without tensors are left out.
        step: how the model came about; then the folder keeps its past. Number and date are added to it. A folder that
            keeps its past goes on doing so where none is given, unless nothing has changed.

    Raises:
        RunError: the disk is full or the folder cannot be written; what stood there is untouched.
        CheckpointError: the folder cannot be made.
    """
    make_folder(folder)
    files: dict[str, dict[str, str]] = {}
    for part, tensors in parts.items():
        if tensors:
            data = pack_tensors({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
            digest = hashlib.sha256(data).hexdigest()
            files[part] = {"file": f"{part}-{digest[:12]}{SUFFIX}", "sha256": digest}
            if not _is_there(folder / files[part]["file"], digest):
                write_atomically(folder / files[part]["file"], data)
    commit(folder, {**facts, "classes": classes, "files": files}, step)


def read_model(folder: Path, *, step: int | None = None) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Read what `write_model` wrote: the manifest, and the tensors by part.

    Args:
        folder: of the model.
        step: of its history; None for the current one.

    Raises:
        CheckpointError: no model there, no such step, one of a newer release, or a file that is missing or damaged.
    """
    manifest = read_manifest(folder, step=step)
    parts: dict[str, dict[str, Tensor]] = {}
    for part, entry in manifest["files"].items():
        parts[part] = _tensors(folder / entry["file"], entry["sha256"])
    return manifest, parts


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        return parse_tensors(tensor_bytes(path, sha256))
    except SafetensorError as error:
        raise damaged(path, str(error)) from error


def _is_there(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
