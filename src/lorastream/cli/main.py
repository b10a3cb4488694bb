"""`lorastream`: the verbs, and how errors end: a user's mistake in one screen with exit code 2, never a traceback."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lorastream.cli import doctor, list, report, run, validate  # noqa: A004 (the verb is called list)
from lorastream.errors import LorastreamError, UserError

INTERRUPTED = 130

app = typer.Typer(
    name="lorastream",
    help="Teach a pretrained transformer new classes as they arrive: no stored images, no task label, no slower with "
    "every task.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("list")(list.show)
app.command("validate")(validate.validate)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(*, version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False) -> None:
    if version:
        from lorastream import __version__

        typer.echo(f"lorastream {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line and exit with its code: 0 well, 1 a failed run, 2 a user's mistake, 130 interrupted."""
    try:
        app()
    except LorastreamError as error:
        _show(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. What was finished is on disk.", err=True)
        sys.exit(INTERRUPTED)


def _show(error: LorastreamError) -> None:
    """Print the faults of an error: where, expected, got, next."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    noun = "mistake" if isinstance(error, UserError) else "failure"
    count = len(error.faults)
    console.print(f"[bold red]{count} {noun}s[/]" if count > 1 else f"[bold red]One {noun}[/]")
    for fault in error.faults:
        console.print(Text(fault.where, style="bold"))
        grid = Table.grid(padding=(0, 1))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, text in (("  expected", fault.expected), ("  got", fault.got), ("  next", fault.next_step)):
            grid.add_row(label, Text(text))
        console.print(grid)


if __name__ == "__main__":
    main()
