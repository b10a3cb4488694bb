"""Writing a file so that a crash at any instant leaves either the old one or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from lorastream.errors import RunError


def write_atomically(path: Path | str, data: bytes | str) -> None:
    """Write a file: temporary name in the same folder, fsync, rename, fsync of the folder.

    Args:
        path: where to; the folder must exist. What stood there stays whole until the rename.
        data: the content; text is written as UTF-8.

    Raises:
        RunError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            _fill(descriptor, content)
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
        fsync_folder(path.parent)
    except OSError as error:
        raise RunError(
            str(path),
            expected="a place that can be written",
            got=f"{type(error).__name__}: {error.strerror or error}",
            next_step="free some space or choose another folder; what stood there before is untouched",
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes had begun to write in a folder; for whoever knows that nobody writes there now."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder last through a loss of power; nothing to do on Windows, where folders do not open."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _umask() -> int:
    """Return the permission mask of the process; the system only tells it by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
