"""Progress of work in stages on standard error: a bar with the time left on a terminal, a line a stage in a file."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from lorastream.cli import screen
from lorastream.reports.units import size

_LABEL, _BAR, _FIGURES = 32, 16, 18  # columns; with the time left all fits in 80
_SHORT_LABEL, _RATE = 16, 14  # columns where the rate is told too
_BYTES = ("fetching", "checking", "unpacking")  # stages that count bytes; the others count images

Told = Callable[[str, int, int | None], None]


@contextmanager
def stages(*, silent: bool, rate: bool = False) -> Generator[Told]:
    """Give what is told of a stage, how much of it is done, and how much there is, where that is known.

    Args:
        silent: show nothing.
        rate: tell how many images are done a second; names of stages are short then.
    """
    console = screen.console(stderr=True)
    if silent or not screen.is_first_process():
        yield lambda _what, _done, _total: None
    elif console.is_terminal and not console.is_dumb_terminal:
        with _bars(console, rate=rate) as progress:
            yield _Bar(progress).told
    else:
        yield _Lines(console).told


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """Return them, once they are known."""
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "")


def _bars(console: Console, *, rate: bool) -> Progress:
    return Progress(
        *screen.bar_columns(label=_SHORT_LABEL if rate else _LABEL, bar=_BAR, figures=_FIGURES),
        *([_Rate(table_column=Column(min_width=_RATE, no_wrap=True))] if rate else []),
        console=console,
        transient=True,
    )


class _Bar:
    """One bar, of the stage that is under way."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stage: str | None = None
        self.bar: TaskID | None = None

    def told(self, what: str, done: int, total: int | None) -> None:
        if self.bar is None or what != self.stage:
            if self.bar is not None:
                self.progress.remove_task(self.bar)
            self.stage, self.bar = what, self.progress.add_task(what, total=total, completed=done, figures="")
        self.progress.update(self.bar, completed=done, total=total, figures=_figures(what, done, total))


class _Lines:
    """A line when a stage begins."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stage: str | None = None

    def told(self, what: str, _done: int, total: int | None) -> None:
        if what != self.stage:
            self.stage = what
            amount = "" if total is None else f" ({_amount(what, total)})"
            self.console.print(Text(f"{what}{amount}"), soft_wrap=True)


def _figures(what: str, done: int, total: int | None) -> str:
    return _amount(what, done) if total is None else f"{_amount(what, done)} of {_amount(what, total)}"


def _amount(what: str, number: int) -> str:
    return size(number) if what.startswith(_BYTES) else f"{number:,}"
