"""`lorastream watch`: a run as it goes on, read from its record alone, here or on a mounted folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorastream.cli import screen
from lorastream.errors import CheckpointError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lorastream.runs.record import RunRecord

_FEWEST_LINES = 13


def watch(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder, or one above it: the run with the newest record.")
    ] = Path("runs"),
    *,
    once: Annotated[bool, typer.Option("--once", help="Show the run as it is now, and stop.")] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 2.0,
) -> None:
    """Watch a run: accuracy on each task, loss of each epoch, time left, and whether there still is news.

    Ends with the run: with exit code 0 where it finished, 1 where it failed or was interrupted. Ctrl-C stops the
    watching alone.
    """
    try:
        ended = _look_once(folder) if once else _look_on(folder, every)
    except KeyboardInterrupt:
        return
    if ended in {"failed", "interrupted"}:
        raise typer.Exit(1)


class Watched:
    """A record that is read again whenever its file changes; what cannot be read leaves the last one in place.

    Attributes:
        path: of the record.
        record: as it was read last.
        trouble: why it could not be read again; None where it could.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        from lorastream.runs import store

        self.path, self.clock = path, clock
        self.trouble: str | None = None
        self._state = _state(path)
        self._changed: float | None = None
        self.record: RunRecord = store.read(path)

    def look(self) -> bool:
        """Read again what has changed; return whether there is news."""
        from lorastream.runs import store

        try:
            state = _state(self.path)
            if state == self._state and self.trouble is None:
                return False
            self.record = store.read(self.path)
        except OSError as error:
            self.trouble = error.strerror or type(error).__name__
            return False
        except CheckpointError as error:
            self.trouble = error.faults[0].got
            return False
        news, self.trouble = state != self._state, None
        if news:
            self._state, self._changed = state, self.clock()
        return news

    @property
    def age(self) -> float:
        """Seconds since the record was written, as far as clocks can be trusted: never negative.

        The clock of a remote disk may go wrong; a change seen here is at most as old as when it was seen.
        """
        ages = [self.clock() - self._state[0] / 1e9]
        ages += [] if self._changed is None else [self.clock() - self._changed]
        return max(min(ages), 0.0)

    def frame(self) -> RenderableType:
        """Return what to show."""
        from lorastream.reports.live import frame

        console = screen.console()
        height = max(console.height, _FEWEST_LINES)
        return frame(self.record, age=self.age, width=console.width, height=height, trouble=self.trouble)


def _look_once(folder: Path) -> str:
    watched = Watched(_newest(folder))
    screen.show(watched.frame())
    return watched.record.status


def _look_on(folder: Path, every: float) -> str:
    """Show the run until it ends, and return how it ended."""
    watched = Watched(_awaited(folder, every))
    console = screen.console()
    if not console.is_terminal:
        return _in_a_file(watched, every)
    from rich.live import Live

    with Live(watched.frame(), console=console, auto_refresh=False) as live:
        while watched.record.status == "running":
            time.sleep(every)
            watched.look()
            live.update(watched.frame(), refresh=True)
    return watched.record.status


def _in_a_file(watched: Watched, every: float) -> str:
    """Write a frame whenever there is news."""
    screen.show(watched.frame())
    while watched.record.status == "running":
        time.sleep(every)
        if watched.look():
            screen.show("", watched.frame())
    return watched.record.status


def _awaited(folder: Path, every: float) -> Path:
    """Return the record to watch, once it is there; the folder must be there already."""
    told = False
    while True:
        try:
            return _newest(folder)
        except CheckpointError:
            if not folder.is_dir():
                raise
        if not told:
            screen.show(f"No record in {folder} yet; waiting for the first.", stderr=True)
            told = True
        time.sleep(every)


def _newest(folder: Path) -> Path:
    """Return the record that was written last in or below a folder.

    Raises:
        CheckpointError: there is no such folder, or no record in it.
    """
    from lorastream.runs import store

    found = store.find(folder)
    if not found:
        raise CheckpointError(
            str(folder),
            expected="a run's folder, or one above it",
            got="no record.json in or below it",
            next_step="leave --once out to wait for one, or name another folder",
        )
    return max(found, key=lambda path: (_state(path)[0], str(path)))


def _state(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is replaced: time in nanoseconds, size, and which file it is."""
    state = os.stat(path)  # noqa: PTH116 (one call, as cheap as it gets on a remote disk)
    return state.st_mtime_ns, state.st_size, state.st_ino
