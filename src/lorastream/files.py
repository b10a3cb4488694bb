"""Writing: folders made or refused in words, locks, and files that a crash leaves as the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from lorastream.errors import CheckpointError, Fault, RunError


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


def make_folder(folder: Path, *, next_step: str = "choose another folder, or see that you may write there") -> None:
    """Make a folder where it is missing.

    Raises:
        CheckpointError: it cannot be made.
    """
    with writing_in(folder, next_step=next_step):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def writing_in(folder: Path, *, next_step: str) -> Generator[None]:
    """Tell of a folder that cannot be made or written to, and what to do about it.

    Raises:
        CheckpointError: what is done meanwhile fails on it.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            str(folder),
            expected="a folder that can be made and written to",
            got=error.strerror or str(error),
            next_step=next_step,
        ) from error


def fault_of_place(folder: Path, option: str) -> Fault | None:
    """Return why a folder cannot be made or written to, before anything is; None where it can.

    Args:
        folder: that is there or is to be made.
        option: by which another one is named.
    """
    nearest = nearest_place(folder)
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return None
    got = f"{nearest} may not be written to" if nearest.is_dir() else f"{nearest} is a file"
    next_step = f"choose another folder with {option}, or see that you may write there"
    return Fault(str(folder), "a folder that can be made and written to", got, next_step)


def nearest_place(path: Path) -> Path:
    """Return the path itself, or the nearest one above it, that something is at, be it a link to nothing."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def lock(descriptor: int) -> bool:
    """Take the lock of an open file or folder, and return whether nobody else holds it.

    Where the system or the file system knows no such lock, nothing is taken, and nobody is known to hold it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


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
