"""`lorastream analyse`: what the papers claim, measured on a finished run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson
from lorastream.errors import MethodError

if TYPE_CHECKING:
    from lorastream.analyses.finished import FinishedRun
    from lorastream.analyses.options import Options
    from lorastream.analyses.result import Analysis

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run, with record.json in it.")]
What = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Separated by commas: closeness, residuals, magnitudes, path, landscape, frozen-first, efficiency, "
        "energy; or all.",
    ),
]
Tasks = Annotated[
    int | None,
    typer.Option(min=1, metavar="NUMBER", help="How many tasks closeness, residuals, frozen-first and energy look at."),
]
Points = Annotated[
    int | None,
    typer.Option(
        min=3, metavar="NUMBER", help="Points along the path, along a side of the landscape, or over training."
    ),
]
Images = Annotated[
    int | None, typer.Option(min=1, metavar="NUMBER", help="Test images of each task, for path and landscape.")
]
Moved = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Where something is now: data.root=FOLDER, backbone.weights=FILE.",
        show_default=False,
    ),
]
_LABEL, _BAR, _FIGURES = 34, 16, 6
_SECONDS_BETWEEN_LINES = 30.0


def analyse(
    run: Run,
    *,
    what: What,
    tasks: Tasks = None,
    points: Points = None,
    images: Images = None,
    moved: Moved = None,
    json: AsJson = False,
) -> None:
    """Measure what the papers claim on a finished run; figures and plots go into RUN/analyses.

    With `all`, analyses that the run's method has nothing for are left out and named.
    """
    from lorastream.analyses.catalogue import ALL, chosen
    from lorastream.analyses.options import Options

    names = chosen(what)
    skip = ALL in [name.strip() for name in what.split(",")]
    with screen.waiting("loading", silent=json):
        opened = _open(run, moved or [])
    options = Options(tasks=tasks, points=points, images=images)
    documents: list[dict[str, object]] = []
    left_out: list[MethodError] = []
    for name in names:
        try:
            found, path = _one(name, opened, options)
        except MethodError as error:
            if not skip:
                raise
            left_out.append(error)
            continue
        documents.append({**found.to_json(), "file": str(path)})
        if not json:
            _show(found, path)
    if json:
        screen.print_json(documents, allow_nan=False)
    elif left_out:
        screen.show(*(f"Left out: {f.where} needs {f.expected}." for error in left_out for f in error.faults))


def _open(folder: Path, moved: list[str]) -> FinishedRun:
    """Open a run; the imports take seconds, so what is wrong with the record is told before."""
    from lorastream.analyses.opening import finished_record

    finished_record(folder)
    from lorastream.analyses.finished import FinishedRun

    return FinishedRun(folder, moved)


def _one(name: str, run: FinishedRun, options: Options) -> tuple[Analysis, Path]:
    from lorastream.analyses.catalogue import find
    from lorastream.analyses.result import write

    with _progress(name) as run.progress:
        found = find(name)(run, options)
    return found, write(found, run.folder)


@contextlib.contextmanager
def _progress(name: str) -> Generator[Callable[[float, float, str], None]]:
    """Show how far an analysis is: a bar with the time left on a terminal, now and then a line in a file."""
    target = screen.console(stderr=True)
    if not target.is_terminal or target.is_dumb_terminal:
        yield _lines(name)
        return
    from rich.progress import Progress

    with Progress(
        *screen.bar_columns(label=_LABEL, bar=_BAR, figures=_FIGURES), console=target, transient=True
    ) as progress:
        bar = progress.add_task(name, total=None, figures="")

        def show(done: float, total: float, doing: str) -> None:
            text = f"{name}: {doing}"
            progress.update(bar, completed=done, total=total, description=text, figures=f"{100 * done / total:.0f} %")

        yield show


def _lines(name: str) -> Callable[[float, float, str], None]:
    begun = last = time.monotonic()

    def tell(done: float, total: float, doing: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and done > 0:
            from lorastream.reports.units import duration

            last = now
            left = duration((now - begun) * (total - done) / done)
            typer.echo(f"{name}: {doing}, {100 * done / total:.0f} %, {left} left", err=True)

    return tell


def _show(found: Analysis, path: Path) -> None:
    from rich.text import Text

    verdict = {True: "holds", False: "does not hold", None: "cannot be told"}[found.holds]
    screen.show(
        Text(f"{found.what}: {found.title}", "bold"),
        f"Claim: {found.claim}",
        f"On this run: {verdict}.",
        found.paragraph,
        f"Saved in {path} and {path.with_suffix('.svg').name}",
        Text(),
    )
