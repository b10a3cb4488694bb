"""What follows the last step of a task: classes that were known keep their rows, and the head is aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from lorastream.data.task import Task
from lorastream.heads import (
    Alignment,
    ClassStatistics,
    DiscriminantHead,
    TrainedHead,
    features_by_class,
    new_statistics,
)
from lorastream.heads.drift import correct
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import AlignmentSettings, TrainingSettings


def settle(model: IncrementalClassifier, task: Task, labels: Mapping[int, int], features: Sequence[Tensor]) -> None:
    """Let the rows of classes that were known take the place of the rows they had, and the task have the others only.

    The head is aligned after that: two rows of one class would be trained against each other.
    """
    for row, known in reversed(list(labels.items())):
        if isinstance(model.head, TrainedHead):
            model.head.copy_row(row, known)
        if model.statistics is not None and features:
            model.statistics.merge(known, features[row - task.first_class])
        model.forget(row)


def features_after(model: IncrementalClassifier, task: Task, settings: TrainingSettings) -> list[Tensor]:
    """Return the features of a task's plain images by class as they are after it, where classes are described.

    Of a model with prompts those with the task's own, as HiDe-Prompt has them, whichever would be chosen to answer.
    """
    if settings.alignment is None:
        return []
    return features_by_class(model.passes(task.train, features=model.features_of_newest), task.classes)


def align(
    model: IncrementalClassifier,
    task: Task,
    settings: AlignmentSettings,
    features: Sequence[Tensor],
    *,
    before: Sequence[Tensor] = (),
) -> dict[str, Any]:
    """Let what is known of old classes follow their features, describe the new ones, and align the head.

    Args:
        model: that has just learnt the task.
        task: whose classes are described by the features of their plain images; the first has nothing to align to.
        settings: how; a discriminant is computed from the statistics, and needs nothing else of them.
        features: of the new classes, `[n, d]` each.
        before: the same before the task, where drift is to be corrected.

    Returns:
        What came of it, as plain values for the record.
    """
    model.statistics = model.statistics or new_statistics(settings.covariance, rank=settings.covariance_rank)
    figures: dict[str, Any] = {}
    if before and settings.drift != "none" and task.first_class:
        figures["drift"] = _follow(model.statistics, task, settings, before, features)
    if features:
        model.statistics.put(task.first_class, features)
        lent = [name for name, own in zip(task.class_names, features, strict=False) if len(own) == 1]
        own = {"bytes_per_class": model.statistics.bytes_per_class(), "of_one_image": lent}
        figures["statistics"] = {"covariance": settings.covariance, **own}
    if isinstance(model.head, DiscriminantHead):
        model.head.tell_apart(model.statistics)
    elif len(model.task_sizes) > 1 and isinstance(model.head, TrainedHead):
        alignment = Alignment(**settings.model_dump(include={field.name for field in fields(Alignment)}))
        generator = model.randomness.torch("alignment", task.index)
        alignment.align(model.head, model.statistics, model.task_sizes, generator=generator)
    return figures


def _follow(
    statistics: ClassStatistics,
    task: Task,
    settings: AlignmentSettings,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
) -> dict[str, Any]:
    """Correct the statistics of the old classes for drift, where that can be told."""
    if settings.drift == "none" or not after:
        return {}
    means = statistics.means[: task.first_class]
    found = correct(settings.drift, means, before[: len(after)], after, sigma=settings.drift_sigma)
    if found.moved is not None:
        statistics.move(found.moved.means, found.moved.transform, spread=settings.drift_spread)
    return {"form": settings.drift, **found.figures()}
