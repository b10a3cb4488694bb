"""Progress of a run on standard error: bars on a terminal, a line a task in a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.progress import Progress, TaskID
from rich.text import Text

from lorastream.cli import screen
from lorastream.recipes.schema import Recipe
from lorastream.reports.units import duration
from lorastream.training.events import (
    EpochDone,
    Evaluating,
    Event,
    Note,
    Preparing,
    StepDone,
    TaskLearnt,
    TaskStarted,
)

_NAMED_CLASSES = 4
_BAR, _LABEL, _FIGURES = 20, 18, 28  # columns, so that nothing moves while figures change; all fits in 80
_REMEMBERED = 3600.0  # seconds of progress from which the time left is estimated: a task may take many minutes


class Display(Protocol):
    """Shows what the loop announces; used as a context around a run."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *raised: object) -> None:
        """Show no more."""
        ...

    def listen(self, event: Event) -> None:
        """Show an event."""
        ...


def display(recipe: Recipe, *, number: int = 1, of: int = 1, silent: bool = False) -> Display:
    """Return what shows a run.

    Args:
        recipe: what is run.
        number: which of the runs of this command it is, from 1.
        of: how many there are.
        silent: show nothing; so do all but the first of several processes.
    """
    title = f"{recipe.method.name}, seed {recipe.seed}" + (f" (run {number} of {of})" if of > 1 else "")
    if silent or not screen.is_first_process():
        return Silence()
    console = screen.console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return Bars(title, _n_tasks(recipe), console)
    return Lines(title, _n_tasks(recipe), console)


def display_visit(title: str, *, silent: bool = False) -> Display:
    """Return what shows a visit: a single task, whatever its number is in the life of the model.

    Args:
        title: what is learnt.
        silent: show nothing; so do all but the first of several processes.
    """
    if silent or not screen.is_first_process():
        return Silence()
    console = screen.console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return AsFirstTask(Bars(title, 1, console))
    return AsFirstTask(Lines(title, 1, console))


class AsFirstTask:
    """Shows every task as if it were the first, on another display."""

    def __init__(self, shown: Display) -> None:
        self.shown = shown

    def __enter__(self) -> Self:
        """Begin to show."""
        self.shown.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        """Show no more."""
        self.shown.__exit__(*raised)

    def listen(self, event: Event) -> None:
        """Show an event."""
        match event:
            case TaskStarted() | StepDone() | EpochDone() | TaskLearnt():
                self.shown.listen(replace(event, task=0))
            case _:
                self.shown.listen(event)


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Show nothing."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Show nothing."""

    def listen(self, event: Event) -> None:
        """Show nothing."""


class Lines:
    """Writes a line after every task.

    Args:
        title: of the run.
        n_tasks: that there are.
        console: to write to.
    """

    def __init__(self, title: str, n_tasks: int, console: Console) -> None:
        self.title, self.n_tasks, self.console = title, n_tasks, console
        self.prepared = False
        self.last: EpochDone | None = None

    def __enter__(self) -> Self:
        """Say nothing yet."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Say nothing more."""

    def listen(self, event: Event) -> None:
        """Write a line where there is something to tell."""
        match event:
            case Preparing(total=total) if not self.prepared:
                self.prepared = True
                self._say(f"decoding {_count(total, 'image')}, once")
            case EpochDone():
                self.last = event
            case TaskLearnt(task=task, seconds=seconds):
                told = f"; {_figures(self.last.loss, self.last.accuracy)}" if self.last else ""
                self.last = None  # in the next task there may be nothing to learn
                self._say(f"task {task + 1} of {self.n_tasks} learnt in {duration(seconds)}{told}")
            case Note(text=text):
                self._say(text)
            case _:
                pass

    def _say(self, text: str) -> None:
        self.console.print(Text(f"{self.title}: {text}"), soft_wrap=True)


class _Headed(Progress):
    """Bars below a line that says what is going on."""

    headline = ""

    def get_renderables(self) -> list[RenderableType]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the line and the bars."""
        return [Text(self.headline, no_wrap=True, overflow="ellipsis"), self.make_tasks_table(self.tasks)]


class Bars:
    """Shows a bar for the tasks and one for what is being done, with loss, accuracy and time left.

    Args:
        title: of the run.
        n_tasks: that there are.
        console: to draw on.
    """

    def __init__(self, title: str, n_tasks: int, console: Console) -> None:
        self.title, self.n_tasks = title, n_tasks
        self.progress = _Headed(
            *screen.bar_columns(label=_LABEL, bar=_BAR, figures=_FIGURES),
            console=console,
            transient=True,
            speed_estimate_period=_REMEMBERED,
        )
        self.tasks = self._bar(f"task 1 of {n_tasks}", n_tasks)
        self.detail: TaskID | None = None
        self.task, self.epochs, self.steps = 0, 0, 0
        self._say("loading")

    def __enter__(self) -> Self:
        """Begin to draw."""
        self.progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Take the bars away."""
        self.progress.stop()

    def listen(self, event: Event) -> None:
        """Draw an event."""
        match event:
            case Preparing(done=done, total=total):
                self._say("decoding images, once")
                self._show("images", done, total, f"{done} of {total}")
            case TaskStarted(task=task, class_names=names, epochs=epochs, steps_per_epoch=steps):
                self.task, self.epochs, self.steps = task, epochs, steps
                self._say(f"learning {_listed(names)}")
                self.progress.update(self.tasks, description=f"task {task + 1} of {self.n_tasks}")
                self._show(f"epoch 1 of {epochs}", 0, epochs * steps, "")
            case StepDone(epoch=epoch, step=step, loss=loss, accuracy=accuracy):
                self._step(epoch, step, loss, accuracy)
            case EpochDone(epoch=epoch, loss=loss, accuracy=accuracy):
                self._step(epoch, self.steps, loss, accuracy)
            case TaskLearnt(task=task):
                self.task = task
                self._drop()
            case Evaluating(done=done, total=total):
                self._evaluating(done, total)
            case Note(text=text):
                self.progress.console.print(Text(f"{self.title}: {text}"), soft_wrap=True)

    def _step(self, epoch: int, step: int, loss: float, accuracy: float) -> None:
        done, total = epoch * self.steps + step, self.epochs * self.steps
        self._show(f"epoch {epoch + 1} of {self.epochs}", done, total, _figures(loss, accuracy))
        self.progress.update(self.tasks, completed=self.task + done / total)

    def _evaluating(self, done: int, total: int) -> None:
        self._say("evaluating every class seen")
        self._show("images", done, total, f"{done} of {total}")
        if done == total:
            self.progress.update(self.tasks, completed=self.task + 1)
            self._drop()

    def _say(self, text: str) -> None:
        self.progress.headline = f"{self.title}: {text}"

    def _show(self, description: str, done: int, total: int, figures: str) -> None:
        if self.detail is None:
            self.detail = self._bar(description, total)
        self.progress.update(self.detail, description=description, completed=done, total=total, figures=figures)

    def _drop(self) -> None:
        if self.detail is not None:
            self.progress.remove_task(self.detail)
        self.detail = None

    def _bar(self, description: str, total: int) -> TaskID:
        return self.progress.add_task(description, total=total, figures="")


def _figures(loss: float, accuracy: float) -> str:
    return f"loss {loss:.3f}, accuracy {100 * accuracy:.1f} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _n_tasks(recipe: Recipe) -> int:
    stream = recipe.stream
    return stream.tasks or len(stream.sizes or stream.classes or ())


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMED_CLASSES])
    return shown if len(names) <= _NAMED_CLASSES else f"{shown}, ... ({len(names)} classes)"
