"""The root of a suite belongs to one call at a time, and to the runs that it started, also where it was killed."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lorastream.errors import CheckpointError
from lorastream.files import lock, writing_in

LOCK = ".suite.lock"


@contextmanager
def alone_in(root: Path) -> Generator[int]:
    """Hold the root of a suite, and give the descriptor that holds it.

    Processes that inherit the descriptor hold the root too: a call that was killed and whose runs still go on keeps it
    until the last of them has ended. Where the system knows no such lock, nothing is held.

    Raises:
        CheckpointError: another call holds it, or the folder cannot be made.
    """
    descriptor = _opened(root)
    try:
        if not lock(descriptor):
            raise CheckpointError(
                str(root),
                expected="a folder in which no other suite is at work",
                got="one is, or runs that it started before it was killed are",
                next_step="wait until they have ended, or end them",
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(root: Path) -> int:
    with writing_in(root, next_step="name another folder in the suite: root = ..."):
        root.mkdir(parents=True, exist_ok=True)
        return os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
