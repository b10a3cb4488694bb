"""Figures sent to an experiment tracker while a run goes on, through accelerate's trackers, under the record's names.

A step is an epoch, counted over all tasks; of a method without epochs it is a task. What the record says after a task
stands at that task's last epoch. Only the main process writes; what a tracker refuses never harms the run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from lorastream.errors import MissingExtraError, UserError, unknown_name
from lorastream.runs.record import RunRecord
from lorastream.training.events import EpochDone, Event, TaskStarted

TRACKERS = ("tensorboard", "wandb", "trackio")
FOLDER = "tracking"
SUMMARIES = (
    *("average_accuracy", "average_accuracy_by_image", "average_incremental_accuracy", "forgetting"),
    *("backward_transfer", "task_restricted_average_accuracy", "trainable_parameters", "stored_bytes"),
)
PER_TASK = (
    *("seconds_per_task", "evaluation_seconds_per_task", "step_milliseconds_per_task", "peak_memory_bytes_per_task"),
)


class Tracker(Protocol):
    """What is used of accelerate's trackers."""

    def start(self) -> None:
        """Begin."""
        ...

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep what the run was started with."""
        ...

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Send figures."""
        ...

    def finish(self) -> None:
        """End."""
        ...


class Tracking:
    """Listens to a run and tells a tracker; see the module.

    Args:
        name: of the tracker.
        tell: told once, in a sentence, where the tracker refuses; the run goes on without it.
    """

    def __init__(self, name: str, *, tell: Callable[[str], None]) -> None:
        check(name)
        self.name, self.tell = name, tell
        self._tracker: Tracker | None = None
        self._refused = False
        self._waiting: list[tuple[dict[str, Any], int]] = []
        self._epochs = 0
        self._learnt: int | None = None

    def listen(self, event: Event) -> None:
        """Take note of an epoch; what comes before the run has a folder waits for it."""
        if isinstance(event, TaskStarted):
            self._epochs = event.epochs
        elif isinstance(event, EpochDone):
            values = {"epochs/loss": event.loss, "epochs/accuracy": event.accuracy, "epochs/lr": event.lr}
            self._log(values, event.task * self._epochs + event.epoch)

    def recorded(self, record: RunRecord, folder: Path) -> None:
        """Take note of a record that was written: begin with the first, end with that of a run that ended."""
        if self._tracker is None and not self._refused:
            self._begin(record, folder)
        learnt = len(record.accuracy_matrix)
        if learnt and learnt != self._learnt:
            self._log(figures_of(record), max(len(record.epochs), learnt) - 1)
        self._learnt = learnt
        if record.status != "running" and self._tracker is not None:
            self._attempt(self._tracker.finish)
            self._tracker = None

    def _begin(self, record: RunRecord, folder: Path) -> None:
        place = folder / FOLDER

        def start() -> Tracker:
            place.mkdir(exist_ok=True)
            tracker = made(self.name, record, place)
            tracker.start()
            tracker.store_init_configuration(settings_of(record))
            return tracker

        self._tracker = self._attempt(start)
        waiting, self._waiting = self._waiting, []
        for values, step in waiting:
            self._log(values, step)

    def _log(self, values: dict[str, Any], step: int) -> None:
        tracker = self._tracker
        if tracker is not None:
            self._attempt(lambda: tracker.log(values, step=step))
        elif not self._refused:
            self._waiting.append((values, step))

    def _attempt(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 whatever the act returns
        """Do something with a foreign library; where that fails say so once, and leave the tracker alone from then."""
        try:
            return act()
        except Exception as error:  # noqa: BLE001 whatever a tracker does must not end hours of training
            self.tell(f"{self.name} is told no more: {type(error).__name__}: {error}")
            self._tracker, self._refused, self._waiting = None, True, []
            return None


def check(name: str) -> None:
    """See that there is a tracker of a name, and its package.

    Raises:
        UserError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """
    if name not in TRACKERS:
        raise UserError.of([unknown_name("--track", kind="tracker", got=name, choices=TRACKERS)])
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError.missing(f"--track {name}", package=name, extra="track")


def made(name: str, record: RunRecord, folder: Path) -> Tracker:
    """Return accelerate's tracker, not yet started.

    Args:
        name: one of `TRACKERS`.
        record: of the run: its recipe is the project, its id that of the tracker's run, so that one that is resumed
            goes on there.
        folder: for what TensorBoard and wandb write; trackio has a place of its own for all runs (TRACKIO_DIR).
    """
    from accelerate import tracking

    run = f"{record.method}-{record.seed}-{record.id}"
    if name == "tensorboard":
        return cast("Tracker", tracking.TensorBoardTracker("", str(folder)))
    if name == "wandb":
        options = {"name": run, "id": record.id, "resume": "allow", "dir": str(folder)}
        return cast("Tracker", tracking.WandBTracker(record.recipe_name, **options))
    return cast("Tracker", tracking.TrackioTracker(record.recipe_name, name=run, resume="allow"))


def figures_of(record: RunRecord) -> dict[str, float]:
    """Return what a record says after its last task, by its names there; what is not defined is left out."""
    last = len(record.accuracy_matrix) - 1
    values: dict[str, Any] = {name: getattr(record, name) for name in SUMMARIES}
    values |= {name: getattr(record, name)[last] for name in PER_TASK if len(getattr(record, name)) > last}
    values |= {f"accuracy_matrix/{k + 1}": value for k, value in enumerate(record.accuracy_matrix[last])}
    return {name: value for name, value in values.items() if value is not None}


def settings_of(record: RunRecord) -> dict[str, Any]:
    """Return what a run was started with as plain values by dotted name, as trackers want them."""
    told = _flat(record.recipe) | _flat({"hyper_parameters": record.hyper_parameters})
    return {**told, "id": record.id, "seed": record.seed, "command": record.command or ""}


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(cast("dict[str, Any]", value), f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
