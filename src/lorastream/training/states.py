"""The states of a run on disk: each one file, written whole or not at all, checked before it is used.

A state is a safetensors file: tensors, and plain values as JSON in its header, beside the SHA-256 of both. A `task`
state holds all that was known when a task began; a `progress` state what has come since, and names the task state that
it needs by its hash. Kept are the last two states, what they need, and the newest of the task before: so a state that
turns out to be torn costs some steps, and a task state that does costs a task, never the run.

A state that is not as it was written is set aside under the name `....damaged`, never removed, and the one before it
is used. As all that is random is named and stateless (`randomness`), the steps between are taken again to the bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from lorastream.errors import CheckpointError
from lorastream.files import fsync_folder, lock, make_folder, remove_leftovers, write_atomically
from lorastream.runs.unfinished import STATE_FILE, facts_of, state_files

DAMAGED = ".damaged"


@dataclass(frozen=True, kw_only=True)
class State:
    """A state that is whole.

    Attributes:
        facts: plain values.
        tensors: by name, each in memory of its own.
        path: its file.
        sha256: of both.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a run can go on from: the task's beginning, and what the task has come to, where that is known."""

    task: State
    progress: State | None


class States:
    """The states of one run.

    Args:
        folder: of its own; made when the first state is written.
        tell: told in a sentence of every state that was set aside.
    """

    def __init__(self, folder: Path, *, tell: Callable[[str], None] = lambda _text: None) -> None:
        self.folder = folder
        self.tell = tell

    def write_task(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> State:
        """Write all that is known as a task begins, and clear away what is needed no more.

        Raises:
            RunError: the disk is full or the folder cannot be written; the states that were there are untouched.
        """
        return self._write("task", facts, tensors)

    def write_progress(self, task: State, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> State:
        """Write what a task has come to, on top of its task state; see `write_task`."""
        needs = {"file": task.path.name, "sha256": task.sha256}
        return self._write("progress", {**facts, "needs": needs}, tensors)

    def newest(self) -> Found | None:
        """Return the newest state that is whole; what is newer and damaged is set aside. None where there is no state.

        Raises:
            CheckpointError: there are states, and none is whole.
        """
        paths = list(reversed(state_files(self.folder).values()))
        for path in paths:
            found = self._read(path)
            if found is not None:
                return found
        if not paths:
            return None
        raise CheckpointError(
            str(self.folder),
            expected="a state that is whole",
            got=f"{len(paths)} that are all damaged; they are set aside as *{DAMAGED}",
            next_step="restore the folder from a copy, or begin anew in another folder",
        )

    def clear(self) -> None:
        """Remove all states and, where nothing else lies in it, the folder; the newest go first, as the oldest last."""
        for path in reversed(state_files(self.folder).values()):
            path.unlink(missing_ok=True)
        remove_leftovers(self.folder)
        with contextlib.suppress(OSError):  # something else lies in it, or it was never made
            self.folder.rmdir()

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Be the only process that writes here, as long as the context lasts; a process that is killed lets go.

        Raises:
            CheckpointError: another process is at work here, or the folder cannot be made.
        """
        make_folder(self.folder)
        if os.name == "nt":  # folders cannot be locked there
            yield
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            if not lock(descriptor):
                raise CheckpointError(
                    str(self.folder.parent),
                    expected="a run that nobody is at work on",
                    got="another process that is learning there now",
                    next_step="wait until it is done, end it, or choose another folder",
                )
            yield
        finally:
            os.close(descriptor)

    def _write(self, kind: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> State:
        number = max(state_files(self.folder), default=0) + 1
        path = self.folder / f"{number:06}-{kind}.safetensors"
        packed, digest = _packed(facts, tensors)
        write_atomically(path, packed)
        self._clear_away()
        return State(facts=dict(facts), tensors={}, path=path, sha256=digest)

    def _clear_away(self) -> None:
        """Remove what is needed no more: all but the last two states, what they need, and the task before."""
        paths = list(state_files(self.folder).values())
        kept = set(paths[-2:])
        for path in paths[-2:]:
            with contextlib.suppress(OSError, ValueError, KeyError):
                kept.add(self.folder / str(facts_of(path)["needs"]["file"]))
        oldest = min(kept, key=_number)
        before = [path for path in paths if _number(path) < _number(oldest)]
        kept.update(before[-1:])
        for path in before[-1:]:
            with contextlib.suppress(OSError, ValueError, KeyError):
                kept.add(self.folder / str(facts_of(path)["needs"]["file"]))
        for path in set(paths) - kept:
            path.unlink(missing_ok=True)
        remove_leftovers(self.folder)

    def _read(self, path: Path) -> Found | None:
        """Return a state with the task state that it needs, or None where one of them is damaged."""
        state = self._whole(path)
        if state is None or path.name.endswith("-task.safetensors"):
            return None if state is None else Found(task=state, progress=None)
        needs = state.facts.get("needs", {})
        name = str(needs.get("file"))
        task = self._whole(self.folder / name) if STATE_FILE.fullmatch(name) else None
        if task is not None and task.sha256 == needs.get("sha256"):
            return Found(task=task, progress=state)
        self._set_aside(path, f"{name}, which it needs, is missing or damaged")
        return None

    def _whole(self, path: Path) -> State | None:
        if not path.is_file():
            return None
        try:
            return _unpacked(path)
        except (OSError, ValueError, SafetensorError) as error:
            self._set_aside(path, str(error))
            return None

    def _set_aside(self, path: Path, reason: str) -> None:
        path.rename(path.with_name(path.name + DAMAGED))
        fsync_folder(self.folder)
        self.tell(f"{path} is damaged ({reason}): set aside as {path.name}{DAMAGED}, the state before it is used")


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _packed(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[bytes, str]:
    """Return the content of a state's file, and its checksum.

    Tensors keep the order in which their numbers lie in memory, as sums may round otherwise in another.
    """
    plain = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    strides = {name: list(tensor.stride()) for name, tensor in plain.items() if not tensor.is_contiguous()}
    whole = {name: tensor.contiguous().clone() for name, tensor in plain.items()}
    text = json.dumps({**facts, "strides": strides}, ensure_ascii=False, allow_nan=False)
    digest = digest_of(text, whole)
    return pack_tensors(whole, metadata={"facts": text, "sha256": digest}), digest


def _unpacked(path: Path) -> State:
    """Return the state in a file.

    Raises:
        ValueError: it is not as it was written.
        SafetensorError: the same.
    """
    data = path.read_bytes()
    facts = facts_of(path)
    tensors = parse_tensors(data)
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    digest = digest_of(metadata["facts"], tensors)
    if digest != metadata.get("sha256"):
        raise ValueError("its content has another SHA-256")
    strides = facts.pop("strides")
    return State(
        facts=facts,
        tensors={name: _laid_out(tensor, strides.get(name)) for name, tensor in tensors.items()},
        path=path,
        sha256=digest,
    )


def _laid_out(tensor: Tensor, stride: list[int] | None) -> Tensor:
    """Return a copy of its own, aligned as torch aligns what it makes, its numbers in the order that they had."""
    if stride is None:
        return tensor.clone()
    return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)


def digest_of(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a text and of tensors with their names, types and shapes, wherever and however they lie."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
