"""What the training loop announces, as so much of so much."""

from __future__ import annotations

from lorastream.analyses.options import Progress
from lorastream.training.events import EpochDone, Event, Preparing, StepDone, TaskLearnt, TaskStarted


class TrainingProgress:
    """Listens while tasks are learnt one after another, and tells how many, with the part of the one under way.

    Args:
        progress: told.
        total: tasks that are to be learnt in all.
        doing: what for.
    """

    def __init__(self, progress: Progress, *, total: int, doing: str) -> None:
        self.progress, self.total, self.doing = progress, total, doing
        self.done, self.epochs, self.steps = 0, 1, 1

    def __call__(self, event: Event) -> None:
        """Tell what the event says."""
        match event:
            case Preparing(done=done, total=total):
                self.progress(self.done, self.total, f"decoding images, {done} of {total}")
            case TaskStarted(epochs=epochs, steps_per_epoch=steps):
                self.epochs, self.steps = epochs, steps
                self._tell(0.0)
            case StepDone(epoch=epoch, step=step):
                self._tell((epoch + step / self.steps) / self.epochs)
            case EpochDone(epoch=epoch):
                self._tell((epoch + 1) / self.epochs)
            case TaskLearnt():
                self.done += 1
                self._tell(0.0)
            case _:
                pass

    def _tell(self, part: float) -> None:
        self.progress(self.done + part, self.total, self.doing)
