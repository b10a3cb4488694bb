"""What is being made stays beside its place under another name, and gets its own only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from lorastream.errors import DataError
from lorastream.files import fsync_folder, nearest_place, write_atomically

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and how much there is, where that is known."""


def no_progress(_what: str, _done: int, _total: int | None) -> None:
    """Tell nobody."""


def settle(finished: Path, final: Path) -> None:
    """Give a finished file or folder its final name, so that both name and content last through a loss of power.

    Args:
        finished: on the same disk as `final`.
        final: a file of that name is replaced; a folder of that name must not be there.
    """
    if finished.is_dir():
        if hasattr(os, "sync"):
            os.sync()  # one call for all: to open each of 30,000 files again takes longer
    else:
        with finished.open("rb+") as file:
            os.fsync(file.fileno())
    finished.replace(final)
    fsync_folder(final.parent)


def write(path: Path, content: str) -> None:
    """Write a text file as UTF-8; the folders above it are made, and what stood there stays whole until the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


@contextmanager
def made(root: Path) -> Generator[None]:
    """Make a folder for what is done meanwhile; folders made for it that are empty in the end are taken away again.

    Raises:
        DataError: a file stands where the folder should be.
    """
    there = nearest_place(root)
    if not there.is_dir():
        raise DataError(
            str(root),
            expected="a folder, or a place for one",
            got=f"{there} is a file",
            next_step="name another folder with --root",
        )
    new = [place for place in (root, *root.parents) if there in place.parents]
    root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in new:
            if any(folder.iterdir()):
                break
            folder.rmdir()
