"""Progress of a run in the terminal: tasks, epochs and steps with loss, accuracy and time left."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lorastream.recipes.schema import Recipe
from lorastream.training.events import (
    EpochDone,
    Evaluating,
    Event,
    Preparing,
    StepDone,
    TaskLearnt,
    TaskStarted,
)

NAMED_CLASSES = 4


class Display:
    """Shows what the loop announces; used as a context around a run.

    Args:
        recipe: what is run.
        silent: show nothing.
    """

    def __init__(self, recipe: Recipe, *, silent: bool = False) -> None:
        console = Console(stderr=True)
        hidden = silent or os.environ.get("RANK", "0") != "0"
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=18),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=hidden,
        )
        label = f"{recipe.method.name}, seed {recipe.seed}"
        self.tasks = self._bar(label, total=_n_tasks(recipe))
        self.detail: TaskID | None = None
        self.epochs, self.steps = 0, 0
        self.begun = time.monotonic()

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def listen(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Preparing(done=done, total=total):
                self._show("preparing images", done, total)
            case TaskStarted(task=task, class_names=names, epochs=epochs, steps_per_epoch=steps):
                self.epochs, self.steps = epochs, steps
                self._show(f"task {task + 1}: {_listed(names)}", 0, epochs * steps)
            case StepDone(epoch=epoch, step=step, loss=loss, accuracy=accuracy):
                self._step(epoch, step, loss, accuracy)
            case EpochDone(epoch=epoch, loss=loss, accuracy=accuracy):
                self._step(epoch, self.steps, loss, accuracy)
            case TaskLearnt():
                self._drop()
            case Evaluating(done=done, total=total):
                self._show("  evaluating", done, total)
                if done == total:
                    self.progress.advance(self.tasks)
                    self._drop()

    def _step(self, epoch: int, step: int, loss: float, accuracy: float) -> None:
        figures = f"epoch {epoch + 1}/{self.epochs} loss {loss:.3f} acc {100 * accuracy:.1f} %"
        if self.detail is not None:
            self.progress.update(self.detail, completed=epoch * self.steps + step, figures=figures)

    def _show(self, description: str, done: int, total: int) -> None:
        if self.detail is None:
            self.detail = self._bar(description, total=total)
        self.progress.update(self.detail, description=description, completed=done, total=total)

    def _drop(self) -> None:
        if self.detail is not None:
            self.progress.remove_task(self.detail)
        self.detail = None

    def _bar(self, description: str, *, total: int | None) -> TaskID:
        return self.progress.add_task(description, total=total, figures="")


def _n_tasks(recipe: Recipe) -> int | None:
    stream = recipe.stream
    listed = stream.sizes or stream.classes
    return stream.tasks or (None if listed is None else len(listed))


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:NAMED_CLASSES])
    return shown if len(names) <= NAMED_CLASSES else f"{shown}, ... ({len(names)})"
