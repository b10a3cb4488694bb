"""`lorastream suite`: methods x recipes x seeds from one file, some runs at a time, here or on a Ray cluster."""

from __future__ import annotations

import shlex
import signal
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, Overrides
from lorastream.errors import Fault, RunError

if TYPE_CHECKING:
    from lorastream.suites.carry_out import Standing
    from lorastream.suites.executors import Executor
    from lorastream.suites.plan import Suite
    from lorastream.suites.state import Found

_LOCAL = "local"  # the address of a Ray cluster of this machine alone


def suite(
    file: Annotated[Path, typer.Argument(metavar="SUITE", help="A TOML file; docs/scale.md shows one.")],
    overrides: Overrides = None,
    *,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="How many run at a time; the processors are divided among them. Default: 1, "
            "with --ray as many as fit.",
            show_default=False,
        ),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run on a Ray cluster of this machine, started for it and stopped after it.")
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on this Ray cluster; `auto`: the one that runs.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and start none.")] = False,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Make every run of a suite: finished ones are left alone, failed ones tried again, broken-off ones gone on with.

    Each run has its own process and its own folder, <root>/<recipe>/<method>/<seed>, as `lorastream run` makes it.
    """
    from lorastream.recipes.catalogue import read_toml

    read_toml(file)  # a name misspelt is told before torch is loaded
    with screen.waiting("checking the recipes", silent=quiet):
        from lorastream.suites import plan, state

        planned = plan.read(file, overrides or [])
        found = state.found_in_all(planned.runs)
    if dry_run:
        _list(planned, found, json=json)
        return
    standings = _carried_out(planned, found, jobs, ray_address or (_LOCAL if ray else None), quiet=quiet)
    _show(planned, standings, json=json)
    failed = [standing for standing in standings if standing.state == "failed"]
    if failed:
        raise RunError.of([_fault(standing) for standing in failed])


def _carried_out(
    planned: Suite, found: dict[Path, Found], jobs: int | None, ray: str | None, *, quiet: bool
) -> list[Standing]:
    """Carry the suite out, alone in its root, and show how it stands."""
    from lorastream.cli.suite_progress import display
    from lorastream.suites.carry_out import carry_out
    from lorastream.suites.root import alone_in

    with alone_in(planned.root) as held, _terminated_as_interrupted():
        with screen.waiting("starting", silent=quiet):
            executor, slots = _executor(ray, jobs, held)
        try:
            with display(planned, silent=quiet) as told:
                return carry_out(planned, executor, found=found, jobs=jobs or slots, told=told)
        except KeyboardInterrupt:
            typer.echo("The runs are kept as far as they went; the same command goes on.", err=True)
            raise
        finally:
            executor.close()


def _executor(ray: str | None, jobs: int | None, held: int) -> tuple[Executor, int]:
    """Return where the runs are made, and how many at a time unless it was said."""
    from lorastream.suites.executors import LocalProcesses, chosen_threads, threads_of_each

    if ray is None:
        return LocalProcesses(threads_of_each(jobs or 1), held=[held]), 1
    from lorastream.suites.on_ray import RayCluster

    cluster = RayCluster(ray, chosen_threads())
    return cluster, cluster.slots


@contextmanager
def _terminated_as_interrupted() -> Generator[None]:
    """Take SIGTERM, with which a cluster takes a machine back, as Ctrl-C."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _list(planned: Suite, found: dict[Path, Found], *, json: bool) -> None:
    """List the runs with the commands that make them by hand."""
    listed = [
        {
            "run": run.label,
            "folder": str(run.folder),
            "holds": found[run.folder],
            "command": shlex.join(["lorastream", *run.arguments(resume=found[run.folder] == "unfinished")]),
        }
        for run in planned.runs
    ]
    if json:
        screen.print_json(listed)
        return
    for entry in listed:
        if entry["holds"] != "finished":
            typer.echo(entry["command"])
    counts = Counter(entry["holds"] for entry in listed)
    told = [
        f"{counts['finished']} there already",
        f"{counts['unfinished']} to go on with",
        f"{counts['nothing']} to make",
    ]
    screen.show(f"{_counted(len(listed))}: {', '.join(told)}.", stderr=True)


def _show(planned: Suite, standings: Sequence[Standing], *, json: bool) -> None:
    """Show the figures of the runs that are finished, and how many there are."""
    from lorastream.reports import summary_table
    from lorastream.runs import store

    records = {s.run.folder: store.read(s.run.folder) for s in standings if s.state in {"there", "finished"}}
    if json:
        screen.print_json([_document(s, records.get(s.run.folder)) for s in standings], allow_nan=False)
        return
    counts = Counter(standing.state for standing in standings)
    told = [f"{counts[state]} {state}" for state in ("finished", "there", "failed") if counts[state]]
    sentence = ", ".join(told).replace("there", "there already")
    parts = [summary_table(list(records.values()))] if records else []
    screen.show(*parts, f"{_counted(len(standings))}: {sentence}. Tables of tasks: lorastream report {planned.root}")


def _document(standing: Standing, record: Any) -> dict[str, Any]:  # noqa: ANN401 (a RunRecord or None)
    run = standing.run
    return {
        "recipe": run.name,
        "method": run.method,
        "seed": run.seed,
        "folder": str(run.folder),
        "state": standing.state,
        "attempts": standing.attempts,
        "seconds": standing.seconds,
        "exit_code": standing.code,
        "average_accuracy": None if record is None else record.average_accuracy,
        "last_lines": list(standing.said) if standing.state == "failed" else [],
    }


def _fault(standing: Standing) -> Fault:
    """Say how a run failed, in the words of its own last lines."""
    from lorastream.suites.attempt import LOG

    run = standing.run
    times = "once" if standing.attempts == 1 else f"{standing.attempts} times"
    code = standing.code or 0
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    said = "; ".join(line.strip() for line in standing.said) or "nothing was said"
    return Fault(
        where=run.label,
        expected="a run that finishes",
        got=f"{ended}, tried {times}: {said}",
        next_step=f"see {run.folder / LOG}; the same command tries the failed runs again",
    )


def _counted(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
