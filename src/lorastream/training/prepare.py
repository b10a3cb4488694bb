"""What precedes the first step of a task: features as they are, and where the new rows of the head begin."""

from __future__ import annotations

from torch import Tensor

from lorastream.data.task import Task
from lorastream.heads import features_by_class
from lorastream.heads.angles import AngularHead
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import TrainingSettings


def features_before(model: IncrementalClassifier, task: Task, settings: TrainingSettings) -> list[Tensor]:
    """Return the features of a task's plain images by class as they are before it, where something is told from them.

    Drift is, and the penalty `covariance`.
    """
    drift = "none" if settings.alignment is None else settings.alignment.drift
    followed = drift != "none" and model.statistics is not None and task.first_class > 0
    held = settings.penalties.covariance > 0 and len(model.task_sizes) > 1
    return features_by_class(model.passes(task.train), task.classes) if followed or held else []


def start_rows(model: IncrementalClassifier, task: Task, settings: TrainingSettings) -> None:
    """Let the rows of a task's classes begin where the settings say, as the model is when the first step is taken.

    One pass over the task's plain images where they begin at class means; nothing where they were drawn.
    """
    if settings.head is None or settings.head.start != "class_means" or not isinstance(model.head, AngularHead):
        return
    passes = model.passes(task.train, features=model.features_of_newest)
    model.head.imprint(features_by_class(passes, task.classes))
