"""`lorastream history` and `lorastream rollback`: the steps of a model, and going back to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, ModelFolder
from lorastream.errors import CheckpointError, RunError

if TYPE_CHECKING:
    from lorastream.visits.steps import Entry


def history(model: ModelFolder, *, json: AsJson = False) -> None:
    """List the steps of a model; the current one is marked.

    The columns new and old are the accuracies measured at that step: on held-out images of its classes, and on the
    classes known before. A step is whole: `lorastream rollback` goes back to it, bit for bit.
    """
    from lorastream.visits import steps

    entries = steps.history(model)
    if json:
        screen.print_json([entry.to_dict() for entry in entries], allow_nan=False)
        return
    from lorastream.cli.visits import history_table

    screen.show(history_table(entries, width=screen.console().width))
    others = [entry.number for entry in entries if not entry.is_current]
    if others:
        screen.show(f"Go to another: lorastream rollback {model} --to {others[-1]}")


def rollback(
    model: ModelFolder,
    *,
    to: Annotated[int, typer.Option("--to", min=1, metavar="STEP", help="A step of `lorastream history`.")],
    json: AsJson = False,
) -> None:
    """Put a model back into the state of a step, bit for bit; no step is lost."""
    from lorastream.visits import steps

    try:
        entry = steps.rollback(model, to)
    except RunError as error:
        raise CheckpointError.of(error.faults) from error
    if json:
        screen.print_json(entry.to_dict(), allow_nan=False)
    else:
        screen.show(f"{model} is at step {entry.number}: {told_of(entry)}", f"All steps: lorastream history {model}")


def told_of(entry: Entry) -> str:
    """Return in a few words what a model is after a step."""
    date = "" if entry.date is None else f", made {entry.date[:16].replace('T', ' ')} UTC"
    return f"{entry.n_classes} {'class' if entry.n_classes == 1 else 'classes'}{date}."
