"""What follows the last step of a task: classes that were known keep their rows, and the head is aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lorastream.data.task import Task
from lorastream.heads import Alignment, LinearHead, new_statistics
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import AlignmentSettings


def settle(model: IncrementalClassifier, task: Task, labels: Mapping[int, int], features: Sequence[Tensor]) -> None:
    """Let the rows of classes that were known take the place of the rows they had, and the task have the others only.

    The head is aligned after that: two rows of one class would be trained against each other.
    """
    for row, known in reversed(list(labels.items())):
        if isinstance(model.head, LinearHead):
            model.head.copy_row(row, known)
        if model.statistics is not None and features:
            model.statistics.merge(known, features[row - task.first_class])
        model.forget(row)


def align(model: IncrementalClassifier, task: Task, settings: AlignmentSettings, features: Sequence[Tensor]) -> None:
    """Describe the new classes by the features of their plain images; from the second task on, align the head."""
    model.statistics = model.statistics or new_statistics(settings.covariance)
    if features:
        model.statistics.put(task.first_class, features)
    if len(model.task_sizes) > 1 and isinstance(model.head, LinearHead):
        alignment = Alignment(**settings.model_dump(exclude={"covariance"}))
        generator = model.randomness.torch("alignment", task.index)
        alignment.align(model.head, model.statistics, model.task_sizes, generator=generator)
