"""Where an export goes: into a folder beside, which takes the name in one rename once it has been checked."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from lorastream.errors import CheckpointError, RunError
from lorastream.files import fsync_folder

MARKER = "lorastream.json"


def check_destination(out: Path) -> None:
    """See that a folder may be written: not there, empty, or an earlier export.

    Raises:
        CheckpointError: something else is there.
    """
    if out.is_dir():
        got = None if (out / MARKER).is_file() or not any(out.iterdir()) else f"a folder without {MARKER}"
    else:
        got = "a file" if out.exists() or out.is_symlink() else None
    if got is not None:
        raise CheckpointError(
            str(out),
            expected="a place that is free, or an earlier export, which is replaced",
            got=got,
            next_step="name another place: --out PATH",
        )


@contextmanager
def replaced(out: Path) -> Generator[Path]:
    """Give an empty folder beside `out` that takes its place in the end; on any failure `out` stays as it was.

    Raises:
        CheckpointError: something else than an earlier export is there.
        RunError: the disk is full.
    """
    check_destination(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.tmp"
    fresh.mkdir()
    try:
        yield fresh
        _swap(fresh, out)
    except SafetensorError as error:
        raise RunError(
            str(out), expected="room for the weights", got=str(error), next_step="free some space, and run again"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    fsync_folder(out.parent)


def _swap(fresh: Path, out: Path) -> None:
    old = fresh.with_suffix(".old")
    there = out.is_dir()
    if there:
        out.rename(old)
    try:
        fresh.rename(out)
    except BaseException:
        if there:
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
