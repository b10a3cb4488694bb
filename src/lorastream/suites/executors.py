"""Where attempts run: here, as processes beside each other, or on a Ray cluster. Both start the same process."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Generator, Sequence
from typing import Protocol

from lorastream.suites import attempt as attempts
from lorastream.suites.attempt import Ended
from lorastream.suites.plan import PlannedRun


class Executor(Protocol):
    """Where attempts run."""

    def attempt(self, run: PlannedRun, *, resume: bool) -> Generator[str | Ended]:
        """Start a run; yield every line that it says, and at last how it ended."""
        ...

    def stop(self) -> None:
        """Tell every run to save what it learnt and to end."""
        ...

    def kill(self) -> None:
        """End every run at once."""
        ...

    def close(self) -> None:
        """Let go of what the attempts ran on."""
        ...


class LocalProcesses:
    """Processes on this machine.

    Args:
        threads: that each run computes with.
        held: descriptors that each run holds too.
    """

    def __init__(self, threads: int, *, held: Sequence[int] = ()) -> None:
        self._held = tuple(held)
        self._environment = {"OMP_NUM_THREADS": str(threads)}
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def attempt(self, run: PlannedRun, *, resume: bool) -> Generator[str | Ended]:
        """Start a run; yield every line that it says, and at last how it ended."""
        begun: list[subprocess.Popen[str]] = []
        try:
            yield from attempts.attempt(
                run.arguments(resume=resume),
                run.folder / attempts.LOG,
                environment=self._environment,
                program=attempts.PROGRAM,
                held=self._held,
                began=lambda process: begun.append(self._began(process)),
            )
        finally:
            with self._lock:
                self._running.difference_update(begun)

    def stop(self) -> None:
        """Tell every run to save what it learnt and to end."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                attempts.stop(process)

    def kill(self) -> None:
        """End every run at once."""
        with self._lock:
            for process in self._running:
                process.kill()

    def close(self) -> None:
        """Nothing to let go of."""

    def _began(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        with self._lock:
            self._running.add(process)
            if self._stopped:
                attempts.stop(process)
        return process


def chosen_threads() -> int | None:
    """Return the threads that OMP_NUM_THREADS gives to every run; None where it says nothing."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return int(chosen) if chosen.isdecimal() and int(chosen) else None


def threads_of_each(jobs: int) -> int:
    """Return how many threads each of several runs beside each other has: those chosen, or its share of all."""
    return chosen_threads() or max(1, processors() // jobs)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
