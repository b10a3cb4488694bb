"""`run --track`: an experiment tracker listens beside the display."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lorastream.runs.record import RunRecord
    from lorastream.training.events import Event, Listener

Track = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Send the figures to tensorboard, wandb or trackio as well (extra track).",
        show_default=False,
    ),
]
Recorded = Callable[["RunRecord", Path], None]


def check(name: str | None) -> None:
    """Refuse a tracker that there is not, or that is not installed, before hours are spent.

    Raises:
        UserError: there is none of that name, or its package is missing.
    """
    if name is not None:
        from lorastream.training import tracking

        tracking.check(name)


def followed(name: str | None, listen: Listener, recorded: Recorded) -> tuple[Listener, Recorded]:
    """Return what is to be told of a run, a tracker included where one is named.

    Args:
        name: of the tracker; None for none.
        listen: told of what goes on.
        recorded: told of every record that is written.
    """
    if name is None:
        return listen, recorded
    from lorastream.training.events import Note
    from lorastream.training.tracking import Tracking

    tracking = Tracking(name, tell=lambda text: listen(Note(text=text)))

    def listen_to(event: Event) -> None:
        listen(event)
        tracking.listen(event)

    def recorded_to(record: RunRecord, folder: Path) -> None:
        recorded(record, folder)
        tracking.recorded(record, folder)

    return listen_to, recorded_to
