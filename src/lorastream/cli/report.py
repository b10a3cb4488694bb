"""`lorastream report`: the tables of finished runs, read from their records alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorastream.cli import compare as comparison
from lorastream.cli import pages
from lorastream.cli.arguments import AsJson
from lorastream.errors import CheckpointError, Fault

if TYPE_CHECKING:
    from lorastream.runs.record import RunRecord


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER", help="Folders with runs in or below them; `runs` by default.", show_default=False
        ),
    ] = None,
    *,
    json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    magnitudes: Annotated[
        bool, typer.Option("--magnitudes", help="Show SD-LoRA's magnitudes beside the authors'.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Put methods beside each other, with significance and costs.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD", help="With --compare: test against this method, not the best.", show_default=False
        ),
    ] = None,
    same_data: Annotated[
        bool, typer.Option("--same-data", help="With --compare: the images are the same though fingerprints differ.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="With --compare: print CSV, every number in full.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="With --compare: print LaTeX tables.")] = False,
    html: Annotated[
        bool, typer.Option("--html", help="Write each run's page, report.html; with --compare one of the comparison.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --html: where the page goes.", show_default=False)
    ] = None,
) -> None:
    """Show the accuracy matrices and the figures of runs, with mean and deviation over seeds.

    A record that cannot be read is named, with exit code 2, below the tables of the others.
    """
    every = {"json": json, "markdown": markdown, "csv": csv, "latex": latex, "html": html}
    forms = [name for name, given in every.items() if given]
    told = {"--csv": csv, "--latex": latex, "--same-data": same_data, "--against": against}
    comparison.check_options(forms, compare=compare, needs_compare=[name for name, given in told.items() if given])
    pages.check_options(html=html, out=out, magnitudes=magnitudes)
    from lorastream.cli import screen
    from lorastream.reports import accuracy_matrices, as_json, closing_line, summary_table
    from lorastream.reports import markdown as as_markdown

    found, faults = _read(folders or [Path("runs")])
    records = list(found.values())
    if records and compare:
        form = forms[0] if forms else None
        comparison.show(records, form=form, against=against, same_data=same_data, out=out)
    elif records and html:
        pages.show(found, out=out)
    elif records and magnitudes:
        _show_magnitudes(records, markdown=markdown)
    elif records and (json or markdown):
        typer.echo(as_json(records) if json else as_markdown(records), nl=False)
    elif records:
        screen.show(accuracy_matrices(records), summary_table(records), closing_line(records))
    if faults:
        raise CheckpointError.of(faults)


def _show_magnitudes(records: list[RunRecord], *, markdown: bool) -> None:
    from lorastream.cli import screen
    from lorastream.reports import have_magnitudes, magnitudes_markdown, magnitudes_table

    if not have_magnitudes(records):
        raise CheckpointError(
            "lorastream report --magnitudes",
            expected="runs of a method with magnitudes, such as sd_lora",
            got=", ".join(sorted({record.method for record in records})),
            next_step="leave --magnitudes out, or make such a run: lorastream run digits --methods sd_lora",
        )
    if markdown:
        typer.echo(magnitudes_markdown(records))
    else:
        screen.show(magnitudes_table(records))


def _read(folders: list[Path]) -> tuple[dict[Path, RunRecord], list[Fault]]:
    """Return what can be read, by its file, and what is wrong with the rest."""
    from lorastream.runs import store

    records: dict[Path, RunRecord] = {}
    known: set[Path] = set()
    faults: list[Fault] = []
    for folder in folders:
        try:
            found = store.find(folder)
        except CheckpointError as error:
            faults += error.faults
            continue
        if not found:
            expected, step = "a folder with runs", "make one: lorastream run digits"
            faults.append(Fault(str(folder), expected, "no record.json in or below it", step))
        for path in found:
            if path.resolve() in known:
                continue
            known.add(path.resolve())
            try:
                records[path] = store.read(path)
            except CheckpointError as error:
                faults += error.faults
    return records, faults
