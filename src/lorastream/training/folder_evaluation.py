"""Evaluation on a folder of class folders: how often it is right, and whether its probabilities can be believed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lorastream.data.pictures import Named, of_classes
from lorastream.errors import DataError, unknown_name
from lorastream.metrics.calibration import reliability
from lorastream.metrics.counts import per_class_accuracy
from lorastream.model import IncrementalClassifier
from lorastream.training.answers import Answers, Asked
from lorastream.training.evaluate import Evaluation
from lorastream.training.events import Evaluating, nobody

Counted = Callable[[Evaluating], None]


@dataclass(frozen=True, kw_only=True)
class FolderEvaluation(Evaluation):
    """What came out of the pictures of a folder; only tasks that have some are in it.

    Its `reliability` is that of the calibrated probabilities; the `error` is the expected calibration error.

    Attributes:
        class_names: all that the model knows, by label: what rows and columns of `confusion` stand for.
        tasks: index of each task that has pictures.
        is_calibrated: whether a temperature was fitted to the model.
        skipped: pictures that could not be decoded, each with the reason.
    """

    class_names: tuple[str, ...]
    tasks: tuple[int, ...]
    is_calibrated: bool
    skipped: tuple[str, ...]

    @property
    def accuracy_of_class(self) -> dict[str, float]:
        """Accuracy in [0, 1] of each class that has pictures."""
        found = zip(self.class_names, per_class_accuracy(self.confusion), strict=True)
        return {name: accuracy for name, accuracy in found if accuracy is not None}

    @property
    def overall_accuracy(self) -> float:
        """Share of all pictures that is right, in [0, 1]."""
        return float(self.confusion.trace()) / int(self.confusion.sum())


def evaluate_folder(asked: Asked, folder: str | Path, *, listen: Counted = nobody) -> FolderEvaluation:
    """Evaluate on the pictures of class folders, choosing among all classes that the model knows.

    Args:
        asked: the model.
        folder: with one folder for each class, by its name; not every class needs one.
        listen: told how many are done.

    Raises:
        DataError: a folder is that of no known class, or has no picture, or none can be decoded.
    """
    pictures = of_classes(folder)
    known = asked.model.class_names
    faults = [
        unknown_name(f"{folder}, class folder {name}", kind="class that the model knows", got=name, choices=known)
        for name in pictures
        if name not in known
    ]
    if faults:
        raise DataError.of(faults)
    return evaluate_pictures(asked, pictures, listen=listen)


def evaluate_pictures(
    asked: Asked, by_class: Mapping[str, Sequence[Named]], *, listen: Counted = nobody
) -> FolderEvaluation:
    """Evaluate on pictures by the name of their class; see `evaluate_folder`."""
    begun = time.perf_counter()
    names = asked.model.class_names
    pictures = [replace(picture, was_found=True) for own in by_class.values() for picture in own]
    tally = _Tally(asked.model, torch.tensor([names.index(name) for name, own in by_class.items() for _ in own]))
    for group in asked.answers(pictures, skip_broken=True):
        tally.count(group)
        listen(Evaluating(done=tally.done, total=len(pictures)))
    if not tally.confusion.any():
        raise DataError(
            f"the {len(pictures)} pictures to evaluate on",
            expected="at least one that can be decoded",
            got=f"none; the first is {tally.skipped[0]}",
            next_step="look at the files",
        )
    ends = np.cumsum(asked.model.task_sizes).tolist()
    ranges = [range(end - size, end) for end, size in zip(ends, asked.model.task_sizes, strict=True)]
    tasks = [task for task, own in enumerate(ranges) if tally.confusion[own.start : own.stop].any()]
    return FolderEvaluation(
        confusion=tally.confusion.numpy(),
        right_in_task=tally.right_in_task[tasks].numpy(),
        classes=tuple(ranges[task] for task in tasks),
        seconds=time.perf_counter() - begun,
        class_names=tuple(names),
        tasks=tuple(tasks),
        reliability=reliability(torch.cat(tally.claimed).numpy(), torch.cat(tally.right).numpy()),
        is_calibrated=asked.model.calibration is not None and asked.model.calibration.is_fitted,
        skipped=tuple(tally.skipped),
    )


class _Tally:
    """Counts what comes out, group by group.

    Args:
        model: that answers.
        labels: `[n]`, of all pictures.
    """

    def __init__(self, model: IncrementalClassifier, labels: Tensor) -> None:
        sizes = torch.tensor(model.task_sizes)
        self.labels = labels
        self.task_of_class = torch.arange(len(sizes)).repeat_interleave(sizes)
        self.confusion = torch.zeros(model.n_classes, model.n_classes, dtype=torch.int64)
        self.right_in_task = torch.zeros(len(sizes), dtype=torch.int64)
        self.claimed: list[Tensor] = []
        self.right: list[Tensor] = []
        self.skipped: list[str] = []
        self.done = 0

    def count(self, group: Answers) -> None:
        """Count a group."""
        probabilities, labels = group.probabilities.cpu(), self.labels[group.positions]
        confidence, answers = probabilities.max(dim=1)
        self.confusion.index_put_((labels, answers), torch.ones_like(labels), accumulate=True)
        tasks = self.task_of_class[labels]
        within = probabilities.masked_fill(self.task_of_class[None, :] != tasks[:, None], -1).argmax(dim=1)
        self.right_in_task += torch.bincount(tasks[within == labels], minlength=len(self.right_in_task))
        self.claimed.append(confidence)
        self.right.append(answers == labels)
        self.skipped += [f"{fault.where}: {fault.got}" for error in group.broken for fault in error.faults]
        self.done += len(group.positions) + len(group.broken)
