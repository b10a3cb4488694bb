"""`lorastream rename` and `lorastream forget-class`: what a model's classes are called, and which it knows."""

from __future__ import annotations

from typing import Annotated

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, ModelFolder
from lorastream.cli.history import told_of
from lorastream.errors import CheckpointError, RunError


def rename(
    model: ModelFolder,
    old: Annotated[str, typer.Argument(metavar="CLASS", help="A class of the model.")],
    new: Annotated[str, typer.Argument(metavar="NAME", help="What it is called from now on.")],
    *,
    json: AsJson = False,
) -> None:
    """Give a class another name; all that was learnt stays. It is a step that can be gone back from."""
    from lorastream.visits import steps

    try:
        entry = steps.rename(model, old, new)
    except RunError as error:
        raise CheckpointError.of(error.faults) from error
    if json:
        screen.print_json(entry.to_dict(), allow_nan=False)
    else:
        screen.show(f"{old} is called {new} now. {model} is at step {entry.number}: {told_of(entry)}")


def forget_class(
    model: ModelFolder,
    name: Annotated[str, typer.Argument(metavar="CLASS", help="A class of the model.")],
    *,
    json: AsJson = False,
) -> None:
    """Drop a class: the model no longer answers with it. It is a step that can be gone back from.

    What the adapters learnt from its pictures is mixed with what they learnt from others, and stays; earlier steps
    of the history still know the class.
    """
    from lorastream.visits import steps

    try:
        entry = steps.forget_class(model, name)
    except RunError as error:
        raise CheckpointError.of(error.faults) from error
    if json:
        screen.print_json(entry.to_dict(), allow_nan=False)
    else:
        screen.show(f"{name} is forgotten. {model} is at step {entry.number}: {told_of(entry)}")
