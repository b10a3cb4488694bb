"""How errors end: where, expected, got, next, on one screen; never a traceback."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

from lorastream.cli import screen
from lorastream.errors import Fault, LorastreamError, UserError

if TYPE_CHECKING:
    from rich.text import Text

SCREEN = 24
"""Lines that an error takes at most; faults that do not fit are named in its last lines."""
_LONGEST_PART = 400  # characters of what is expected or was got: other libraries' messages know no end


def show(error: LorastreamError) -> None:
    """Print an error's faults to standard error, as many in full as one screen holds."""
    width = screen.console(stderr=True).width
    noun = "mistake" if isinstance(error, UserError) else "failure"
    count = len(error.faults)
    lines = screen.wrapped(f"{count} {noun}s" if count > 1 else f"One {noun}", width, "bold red")
    told = 0
    for fault in error.faults:
        more = _lines(fault, width)
        if told and len(lines) + len(more) > SCREEN - 2:
            break
        lines += more
        told += 1
    rest = ", ".join(fault.where.rpartition(": ")[2] for fault in error.faults[told:])
    if rest:
        lines += screen.wrapped(_cut(f"and {count - told} more: {rest}", 2 * width - 16), width)
    screen.show(*lines, stderr=True)


def usage_fault(problem: Any) -> Fault:  # noqa: ANN401 (typer has no public name for it)
    """Return what typer says of a command line that it cannot read.

    Args:
        problem: typer's usage error.
    """
    context = getattr(problem, "ctx", None)
    command = context.command_path if context else "lorastream"
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ") if context else "lorastream VERB ..."
    message = problem.format_message().replace("Value error, ", "").rstrip(".")
    step = f"see {command} --help"
    if message.startswith("No such option") and "KEY=VALUE" in usage:
        step = f"keys of a recipe are written without dashes, such as training.epochs=3; {step}"
    return Fault(
        where=shlex.join(["lorastream", *sys.argv[1:]]),
        expected=usage,
        got=message[:1].lower() + message[1:],
        next_step=step,
    )


def _lines(fault: Fault, width: int) -> list[Text]:
    parts = (("expected", fault.expected), ("got", fault.got), ("next", fault.next_step))
    told = [(label, _cut(re.sub(r"\s*\n\s*", " ", text), _LONGEST_PART)) for label, text in parts]
    return [*screen.wrapped(fault.where, width, "bold"), *screen.entries(told, width=width, style="dim")]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 4]} ..."
