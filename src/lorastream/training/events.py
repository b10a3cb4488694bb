"""What the loop announces; a progress display, a record or a test listens. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaskStarted:
    """A task begins: its index, its classes, and how much there is to do."""

    task: int
    class_names: tuple[str, ...]
    epochs: int
    steps_per_epoch: int


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """Some steps were taken; announced a few times a second, not at every step.

    Attributes:
        step: steps taken in this epoch.
        loss: mean over the epoch so far.
        accuracy: on the training images of the epoch so far, choosing among the task's own classes, 0 to 1.
    """

    task: int
    epoch: int
    step: int
    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """An epoch ended, with its mean loss, its training accuracy in [0, 1] and its learning rate."""

    task: int
    epoch: int
    loss: float
    accuracy: float
    lr: float


@dataclass(frozen=True, kw_only=True)
class TaskLearnt:
    """A task was learnt, in so many seconds."""

    task: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Evaluating:
    """So many of the test images have been seen."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """So many images have been decoded for the cache."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something that whoever runs it should know: in a sentence."""

    text: str


Event = TaskStarted | StepDone | EpochDone | TaskLearnt | Evaluating | Preparing | Note
Listener = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Listen and do nothing."""
    del event
