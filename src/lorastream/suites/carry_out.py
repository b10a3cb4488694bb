"""Carry out a suite: some runs at a time, finished ones left alone, failed ones tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorastream.errors import CheckpointError, UserError
from lorastream.suites.attempt import Ended
from lorastream.suites.executors import Executor
from lorastream.suites.plan import PlannedRun, Suite
from lorastream.suites.state import Found, found_in

State = Literal["waiting", "running", "there", "finished", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a run of the suite stands.

    Attributes:
        run: which.
        state: there: finished by an earlier call; stopped: by Ctrl-C, the next call goes on with it.
        attempts: made in this call.
        seconds: that they took.
        said: the last line that it said while it runs; of one that failed its last lines.
        code: exit code of the last attempt; None where none has ended.
    """

    run: PlannedRun
    state: State
    attempts: int = 0
    seconds: float = 0.0
    said: tuple[str, ...] = ()
    code: int | None = None


_LISTENS = 0.5  # seconds between two looks for Ctrl-C

Told = Callable[[Standing], None]


def carry_out(
    suite: Suite, executor: Executor, *, found: Mapping[Path, Found], jobs: int, told: Told = lambda _standing: None
) -> list[Standing]:
    """Make every run of a suite that is not finished yet.

    Args:
        suite: the runs.
        executor: where they run.
        found: what their folders hold, by folder.
        jobs: how many run at a time.
        told: of every change, from several threads.

    Returns:
        How every run stands in the end, in the order of the suite.

    Raises:
        KeyboardInterrupt: after the runs that were under way have saved what they learnt.
    """
    stopping = threading.Event()
    standings = {run.folder: Standing(run=run, state="waiting") for run in suite.runs}

    def tell(standing: Standing) -> None:
        standings[standing.run.folder] = standing
        told(standing)

    for run in suite.runs:
        tell(Standing(run=run, state="there" if found[run.folder] == "finished" else "waiting"))
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [
            pool.submit(_until_finished, run, executor, suite.retries, tell, stopping)
            for run in suite.runs
            if found[run.folder] != "finished"
        ]
        try:
            _wait(waiting)
        except BaseException:
            stopping.set()
            _stop(waiting, executor)
            raise
    return list(standings.values())


def _wait(futures: list[Future[None]]) -> None:
    """Wait for all; what goes wrong in the suite itself comes out here."""
    waiting = set(futures)
    while waiting:  # by short sleeps: where another thread takes the signal, a lock would not hear of Ctrl-C
        done, waiting = wait(waiting, timeout=_LISTENS, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


def _stop(futures: list[Future[None]], executor: Executor) -> None:
    """Stop what is under way and wait for it; a second Ctrl-C does not wait."""
    try:
        for future in futures:
            future.cancel()
        executor.stop()
        wait(futures)
    except KeyboardInterrupt:
        executor.kill()
        wait(futures)


def _until_finished(run: PlannedRun, executor: Executor, retries: int, tell: Told, stopping: threading.Event) -> None:
    seconds = 0.0
    for number in range(1, retries + 2):
        if stopping.is_set():
            return
        tell(Standing(run=run, state="running", attempts=number, seconds=seconds))
        ended = _attempt(run, executor, number, tell)
        seconds += ended.seconds
        state: State = (
            "finished" if not ended.code and _is_finished(run) else "stopped" if stopping.is_set() else "failed"
        )
        tell(Standing(run=run, state=state, attempts=number, seconds=seconds, said=ended.last_lines, code=ended.code))
        if state != "failed" or ended.code == UserError.exit_code:
            return  # a mistake of the user's will be there the next time as well


def _attempt(run: PlannedRun, executor: Executor, number: int, tell: Told) -> Ended:
    for said in executor.attempt(run, resume=found_in(run.folder) == "unfinished"):
        if isinstance(said, Ended):
            return said
        tell(Standing(run=run, state="running", attempts=number, said=(said,)))
    return Ended(code=-1, last_lines=("it ended without a word",), seconds=0.0)


def _is_finished(run: PlannedRun) -> bool:
    try:
        return found_in(run.folder) == "finished"
    except CheckpointError:
        return False
