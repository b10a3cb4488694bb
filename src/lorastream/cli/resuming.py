"""What a user is told of work that was stopped, and how it is gone on with."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import typer

Resume = Annotated[bool, typer.Option("--resume", help="Go on with what was stopped; what is finished stays as it is.")]


def is_wanted(where: str) -> bool:
    """Ask on a terminal whether to go on with what was stopped; False where nobody can be asked."""
    from lorastream import processes

    if processes.launched() > 1 or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"{where}. Go on with it?", default=True, err=True)


def command() -> str:
    """Return the command line that goes on with what this one began."""
    given = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return shlex.join(["lorastream", *given, "--resume"])


@contextmanager
def ending_in_order() -> Generator[None]:
    """Let SIGTERM end the command as Ctrl-C does, with what was learnt kept, and exit code 143."""
    from lorastream import processes
    from lorastream.training.interruption import Terminated, ending_on_sigterm

    try:
        with ending_on_sigterm():
            yield
    except Terminated as ended:
        if processes.speaks():
            typer.echo("Terminated.", err=True)
        raise typer.Exit(Terminated.exit_code) from ended


def tell_how(*, kept: bool) -> None:
    """Say on standard error how to go on.

    Args:
        kept: whether there is anything to go on with.
    """
    if kept:
        typer.echo(f"Go on where it stopped: {command()}", err=True)
