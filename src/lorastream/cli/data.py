"""`lorastream data`: the published benchmarks on your disk: list, prepare, verify."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson
from lorastream.errors import UserError

if TYPE_CHECKING:
    from lorastream.data.benchmarks.catalogue import Benchmark
    from lorastream.data.benchmarks.prepare import Prepared
    from lorastream.data.benchmarks.verify import Verification

BenchmarkName = Annotated[str, typer.Argument(metavar="BENCHMARK", help="See `lorastream data list`.")]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Folder of all benchmarks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Archives = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Archive downloaded before; repeat for several.", show_default=False),
]
SplitName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the split.", show_default="the benchmark's")
]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, metavar="NUMBER", help="Draw the split from a seed.")]
TestFraction = Annotated[
    float | None, typer.Option(metavar="PART", help="Part of each class held out.", show_default="0.2")
]
TrainFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="Split given as folders below the root.")]
TestFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="Its test images.")]
TrainLists = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Split given as lists, `path label` a line; repeat.", show_default=False),
]
TestLists = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Its test images.", show_default=False)]

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Put published benchmarks on your disk, split by a manifest that moves no file."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(UserError.exit_code)


@app.command("list", short_help="List benchmarks: size, splits, terms, address.")
def show(*, json: AsJson = False) -> None:
    """List the benchmarks with their sizes, splits, terms and addresses."""
    from lorastream.data.benchmarks import catalogue

    benchmarks = [catalogue.find(name) for name in catalogue.names()]
    if json:
        screen.print_json({benchmark.name: _described(benchmark) for benchmark in benchmarks})
        return
    from lorastream.reports.units import size

    width = screen.console().width
    told = {
        benchmark.name: f"{benchmark.title}: {benchmark.n_classes} classes, {benchmark.n_images:,} images, "
        f"{size(benchmark.n_bytes)} to fetch. Splits: {', '.join(benchmark.split_names())}. "
        f"Terms: {benchmark.terms}. {benchmark.homepage}"
        for benchmark in benchmarks
    }
    screen.show(*screen.entries(told.items(), width=width))


@app.command("prepare", short_help="Fetch, unpack and split a benchmark.")
def prepare(
    benchmark: BenchmarkName,
    *,
    root: Root,
    archive: Archives = None,
    split: SplitName = None,
    seed: Seed = None,
    test_fraction: TestFraction = None,
    train_folder: TrainFolder = None,
    test_folder: TestFolder = None,
    train_list: TrainLists = None,
    test_list: TestLists = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a benchmark or unpack its archive, and write down a split of it; no file is moved or deleted."""
    from lorastream.cli.stages import stages
    from lorastream.data.benchmarks import catalogue
    from lorastream.data.benchmarks import prepare as preparing
    from lorastream.data.benchmarks.request import Request

    known = catalogue.find(benchmark)
    request = Request(
        split=split,
        seed=seed,
        test_fraction=test_fraction,
        train_folder=train_folder,
        test_folder=test_folder,
        train_lists=tuple(train_list or ()),
        test_lists=tuple(test_list or ()),
    )
    with _going_on_told(), stages(silent=quiet) as progress:
        made = preparing.prepare(known, root.expanduser(), request, archives=tuple(archive or ()), progress=progress)
    screen.print_json(_summary(made)) if json else _tell(
        made, root, terms=f"{known.title}: {known.terms}. See {known.homepage}"
    )


@app.command("verify", short_help="Check a prepared benchmark.")
def verify(
    benchmark: BenchmarkName,
    *,
    root: Root,
    split: SplitName = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every image; takes minutes.")] = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Count classes and images, and see that every file of a split is there; exit code 2 where something is amiss."""
    from lorastream.cli.stages import stages
    from lorastream.data.benchmarks import catalogue
    from lorastream.data.benchmarks import verify as verifying
    from lorastream.errors import DataError

    known = catalogue.find(benchmark)
    name = split or known.default_split
    with stages(silent=quiet) as progress:
        found = verifying.verify(known, root.expanduser(), name, decode_all=decode, progress=progress)
    if json:
        screen.print_json(_report(found))
    else:
        _show_checks(found)
    if found.faults:
        raise DataError.of(found.faults)


@contextmanager
def _going_on_told() -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("What was fetched is kept: the same command goes on from there.", err=True)
        raise


def _described(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "title": benchmark.title,
        "classes": benchmark.n_classes,
        "images": benchmark.n_images,
        "bytes": benchmark.n_bytes,
        "splits": list(benchmark.split_names()),
        "terms": benchmark.terms,
        "homepage": benchmark.homepage,
        "archives": [
            {"name": archive.name, "address": archive.address, "md5": archive.md5} for archive in benchmark.archives
        ],
    }


def _summary(made: Prepared) -> dict[str, Any]:
    train, test = made.manifest.counts
    return {
        "manifest": str(made.path),
        "new": made.is_new,
        "benchmark": made.manifest.benchmark,
        "split": made.manifest.split,
        "rule": made.manifest.rule,
        "classes": len(made.manifest.classes),
        "train_images": train,
        "test_images": test,
        "sha256": made.manifest.sha256,
        "archives": [archive.model_dump() for archive in made.manifest.archives],
        "notes": list(made.notes),
    }


def _tell(made: Prepared, root: Path, *, terms: str) -> None:
    import shlex

    manifest = made.manifest
    train, test = manifest.counts
    _show(
        f"{manifest.benchmark}, split {manifest.split}: {len(manifest.classes)} classes, {train:,} images to learn "
        f"from and {test:,} to test on ({manifest.rule})",
        *(f"SHA-256 of {archive.name}: {archive.sha256}" for archive in manifest.archives if made.is_new),
        f"SHA-256 of the split: {manifest.sha256}",
        f"{'Written to' if made.is_new else 'Already there, the very same:'} {made.path}",
        *(f"Note: {note}." for note in made.notes),
        f"Use it: data.source=benchmark:{manifest.benchmark} {shlex.quote(f'data.root={root}')} "
        f"data.split={manifest.split}",
        f"Terms of {terms}",
    )


def _report(found: Verification) -> dict[str, Any]:
    return {
        "benchmark": found.manifest.benchmark,
        "split": found.manifest.split,
        "sha256": found.manifest.sha256,
        "whole": not found.faults,
        "checks": [
            {"what": check.what, "expected": check.expected, "found": check.found, "holds": check.holds}
            for check in found.checks
        ],
    }


def _show_checks(found: Verification) -> None:
    from rich import box
    from rich.table import Table

    from lorastream.reports.units import NOTHING

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"{found.manifest.benchmark}, split {found.manifest.split}", overflow="fold")
    for heading in ("expected", "found"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for check in found.checks:
        table.add_row(check.what, check.expected or NOTHING, check.found, "" if check.holds else "amiss")
    rule = f"Split: {found.manifest.rule}."
    screen.show(table, rule, *([] if found.faults else ["All is as it should be."]))


def _show(*lines: str) -> None:
    screen.show(*lines)
