"""How a suite stands, while it goes on: one table on a terminal, a line for every run that ends in a file."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lorastream.cli import screen
from lorastream.errors import CheckpointError
from lorastream.reports.units import duration, percent
from lorastream.runs import store
from lorastream.suites.carry_out import Standing
from lorastream.suites.plan import Suite

Told = Callable[[Standing], None]

_STYLES = {"running": "bold", "failed": "bold red", "stopped": "yellow", "waiting": "dim"}
_ORDER = ("running", "failed", "stopped", "finished", "there", "waiting")
_FRAME = 5  # lines of the table that are no runs, with the line below it
_REFRESHED = 4  # times a second


@contextmanager
def display(suite: Suite, *, silent: bool) -> Generator[Told]:
    """Give what is told of every change.

    Args:
        suite: that is carried out.
        silent: show nothing.
    """
    console = screen.console(stderr=True)
    if silent:
        yield lambda _standing: None
    elif console.is_terminal and not console.is_dumb_terminal:
        table = _LiveTable(suite, console)
        with Live(get_renderable=table.drawn, console=console, refresh_per_second=_REFRESHED, transient=True):
            yield table.told
    else:
        yield _Lines(console).told


class _LiveTable:
    """Every run in a row, those that go on first; as many as the terminal is high."""

    def __init__(self, suite: Suite, console: Console) -> None:
        self.console = console
        self.rows = {run.folder: (Standing(run=run, state="waiting"), "") for run in suite.runs}
        self.lock = threading.Lock()

    def told(self, standing: Standing) -> None:
        row = (standing, _told_of(standing))
        with self.lock:
            self.rows[standing.run.folder] = row

    def drawn(self) -> RenderableType:
        with self.lock:
            rows = sorted(self.rows.values(), key=lambda row: _ORDER.index(row[0].state))
        shown = rows[: max(1, self.console.height - _FRAME)]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("run", no_wrap=True, overflow="ellipsis", max_width=max(20, self.console.width // 2))
        table.add_column("state", no_wrap=True)
        table.add_column("", no_wrap=True, overflow="ellipsis")
        for standing, told in shown:
            style = _STYLES.get(standing.state, "")
            table.add_row(Text(standing.run.label), Text(standing.state, style=style), Text(told))
        return Group(table, Text(_counts([standing for standing, _ in rows])))


class _Lines:
    """A line when a run ends or is tried again."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.lock = threading.Lock()

    def told(self, standing: Standing) -> None:
        again = standing.state == "running" and standing.attempts > 1 and not standing.said
        if again or standing.state in {"finished", "failed", "stopped"}:
            state = "tried again" if again else standing.state
            told = _told_of(standing)
            with self.lock:
                line = f"{standing.run.label}: {state}{', ' if told else ''}{told}"
                self.console.print(Text(line), soft_wrap=True)


def _told_of(standing: Standing) -> str:
    """Return what there is to say of a run in one line."""
    match standing.state:
        case "running":
            own = f"{standing.run.method}, seed {standing.run.seed}: "
            return standing.said[-1].removeprefix(own) if standing.said else ""
        case "finished" | "there":
            took = f" in {duration(standing.seconds)}" if standing.state == "finished" else ""
            return f"{_accuracy(standing)}{took}"
        case "failed":
            times = "" if standing.attempts == 1 else f", tried {standing.attempts} times"
            return f"exit code {standing.code}{times}"
        case _:
            return ""


def _accuracy(standing: Standing) -> str:
    try:
        return f"{percent(store.read(standing.run.folder).average_accuracy)} %"
    except CheckpointError:
        return ""


def _counts(standings: list[Standing]) -> str:
    counts = Counter(standing.state for standing in standings)
    done = counts["finished"] + counts["there"]
    others = [f"{counts[state]} {state}" for state in ("running", "failed", "waiting") if counts[state]]
    return ", ".join([f"{done} of {len(standings)} done", *others])
