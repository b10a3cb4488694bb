"""One attempt at a run: `lorastream run` in a process of its own, and what it says while it goes on.

What schedules the attempts, threads here or Ray elsewhere, iterates over the same generator. Loads nothing heavy.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = ("-m", "lorastream")
"""What the Python of the place starts."""

LOG = "output.log"
"""Name of the file in the run's folder that keeps what all its attempts said."""

_LAST_LINES = 12
_PATIENCE = 60.0  # seconds in which a run that is told to stop has saved what it learnt


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an attempt ended.

    Attributes:
        code: exit code; negative where a signal ended it.
        last_lines: the end of what it said.
        seconds: that it took.
    """

    code: int
    last_lines: tuple[str, ...]
    seconds: float


def attempt(
    arguments: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str],
    program: Sequence[str] = PROGRAM,
    place: str | None = None,
    held: Sequence[int] = (),
    began: Callable[[subprocess.Popen[str]], None] = lambda _process: None,
) -> Generator[str | Ended]:
    """Start a process, yield every line that it says, and at last how it ended.

    Where the generator is closed or interrupted, the process is told to stop, and waited for.

    Args:
        arguments: of the process.
        log: file to which its lines are added too; the folder is made.
        environment: variables that differ from those of this process.
        program: what Python is to start.
        place: working folder; None: that of this process.
        held: descriptors that the process holds too.
        began: given the process.
    """
    begun = time.perf_counter()
    last: deque[str] = deque(maxlen=_LAST_LINES)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *program, *arguments]
    with log.open("a", encoding="utf-8") as kept, _started(command, environment, place, held) as process:
        began(process)
        try:
            for line in process.stdout or ():
                kept.write(line)
                if line.strip():
                    last.append(line.rstrip())
                    yield line.rstrip()
            process.wait()
        except BaseException:
            stop(process)
            raise
        finally:
            if process.poll() is None:
                _wait_or_kill(process)
    yield Ended(code=process.returncode, last_lines=tuple(last), seconds=time.perf_counter() - begun)


def attempt_in(
    place: str, arguments: Sequence[str], log: str, *, environment: Mapping[str, str], program: Sequence[str]
) -> Generator[str | Ended]:
    """Make an attempt from a working folder; for Ray, whose workers are somewhere else and load this module alone."""
    yield from attempt(arguments, Path(place, log), environment=environment, program=program, place=place)


def stop(process: subprocess.Popen[str]) -> None:
    """Tell a run to save what it learnt and to end, as Ctrl-C does."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)


def _wait_or_kill(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _started(
    command: Sequence[str], environment: Mapping[str, str], place: str | None, held: Sequence[int]
) -> subprocess.Popen[str]:
    # In a session of its own it does not hear the Ctrl-C of the terminal: the suite tells it, once.
    return subprocess.Popen(  # noqa: S603 (our own program)
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "80", **environment},
        cwd=place,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        pass_fds=tuple(held),
    )
