"""`lorastream report`: the tables of finished runs, read from their records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorastream.cli.arguments import AsJson


def report(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders with runs in or below them.", show_default="runs")
    ] = None,
    *,
    json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Show the accuracy matrices and the figures of runs, with mean and deviation over seeds."""
    from lorastream.errors import CheckpointError
    from lorastream.reports import accuracy_matrices, as_json, closing_line, summary_table
    from lorastream.reports import markdown as as_markdown
    from lorastream.runs import store

    given = folders or [Path("runs")]
    found = [path for folder in given for path in store.find(folder)]
    if not found:
        raise CheckpointError(
            ", ".join(map(str, given)),
            expected="a folder with runs",
            got="no record.json in or below it",
            next_step="make one: lorastream run digits",
        )
    records = [store.read(path) for path in dict.fromkeys(found)]
    if json or markdown:
        typer.echo(as_json(records) if json else as_markdown(records))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(accuracy_matrices(records))
    console.print(summary_table(records))
    console.print(closing_line(records))
