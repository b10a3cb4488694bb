"""Accuracy on every class seen, in one pass with the merged model, whatever the number of tasks."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from lorastream.data.task import Task
from lorastream.errors import DataError
from lorastream.methods.protocol import Method
from lorastream.metrics.calibration import BINS, Reliability
from lorastream.metrics.counts import confusion_matrix
from lorastream.model import IncrementalClassifier
from lorastream.training.device import preparing_threads, total
from lorastream.training.events import Evaluating, Listener, nobody
from lorastream.training.hooks import predict


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came out of the test images of some tasks.

    Attributes:
        confusion: int64 `[classes, classes]`, images by true class (row) and predicted class (column).
        right_in_task: int64 `[tasks]`, images that are right when choosing among their own task's classes only.
        classes: for each task the range of its classes.
        reliability: the answers by the probability claimed for them.
        seconds: wall time.
        answers: int64 `[images]`, the predicted class of each, tasks one after another; None where they were not kept.
    """

    confusion: NDArray[np.int64]
    right_in_task: NDArray[np.int64]
    classes: tuple[range, ...]
    reliability: Reliability
    seconds: float
    answers: NDArray[np.int64] | None = None

    @property
    def n_test(self) -> tuple[int, ...]:
        """Test images of each task."""
        return tuple(int(self.confusion[c.start : c.stop].sum()) for c in self.classes)

    @property
    def accuracy(self) -> tuple[float, ...]:
        """Accuracy on each task's images among all classes, in [0, 1]: a row of the accuracy matrix."""
        right = self.confusion.diagonal()
        return tuple(float(right[c.start : c.stop].sum()) / n for c, n in zip(self.classes, self.n_test, strict=True))

    @property
    def task_restricted_accuracy(self) -> tuple[float, ...]:
        """The same with the task given."""
        return tuple(int(right) / n for right, n in zip(self.right_in_task, self.n_test, strict=True))


def evaluate(
    model: IncrementalClassifier,
    method: Method,
    tasks: Sequence[Task],
    *,
    accelerator: Accelerator,
    batch_size: int = 128,
    listen: Listener = nobody,
) -> Evaluation:
    """Evaluate on the test images of some tasks, choosing among all classes that the model knows.

    Raises:
        DataError: a task has no test images.
    """
    begun = time.perf_counter()
    sizes = [len(task.test) for task in tasks]
    images, done = sum(sizes), 0
    answers = torch.zeros(images, dtype=torch.int64, device=model.device)
    right_in_task = torch.zeros(len(tasks), dtype=torch.int64, device=model.device)
    claims = _Claims(model.device)
    threads = preparing_threads(model.device)
    shard = (accelerator.process_index, accelerator.num_processes)
    with inference(model), accelerator.autocast():
        for position, task in enumerate(tasks):
            _check(task)
            for batch in task.test.batches(batch_size * shard[1], shard=shard, device=model.device, workers=threads):
                if len(batch) or model.backbone.sharded:
                    logits = predict(method, model, batch.images)
                    predicted = logits.argmax(dim=1)
                    claims.count(logits, predicted == batch.labels)
                    # Zero on the processes that do not have the image: their sum is the answer.
                    answers[sum(sizes[:position]) + batch.indices] = predicted
                    own = logits[:, task.classes.start : task.classes.stop].argmax(dim=1)
                    right_in_task[position] += (own == batch.labels - task.first_class).sum()
                done += batch.global_size
                listen(Evaluating(done=done, total=images))
    found = total(accelerator, answers).cpu().numpy()
    labels = np.concatenate([np.empty(0, dtype=np.int64), *(task.test.labels for task in tasks)])
    return Evaluation(
        confusion=confusion_matrix(labels, found, n_classes=model.n_classes),
        right_in_task=total(accelerator, right_in_task).cpu().numpy(),
        classes=tuple(task.classes for task in tasks),
        reliability=claims.reliability(accelerator),
        seconds=time.perf_counter() - begun,
        answers=found,
    )


class _Claims:
    """Counts answers by the probability claimed for them, in integers: sums over processes are exact in any order.

    Probabilities are the softmax of the logits as they are, without the temperature that `calibrate` fits.
    """

    _ONE = 2**30
    """A probability of 1; sums of ten thousand million of them do not overflow."""

    def __init__(self, device: torch.device) -> None:
        self._images, self._claimed, self._right = torch.zeros(3, BINS, dtype=torch.int64, device=device)

    def count(self, logits: Tensor, right: Tensor) -> None:
        """Count a batch: `logits [n, classes]`, and whether each answer is `right [n]`."""
        claimed = logits.float().softmax(dim=1).amax(dim=1).nan_to_num(0.0)
        place = ((claimed * BINS).ceil().long() - 1).clamp(0, BINS - 1)
        self._images.index_add_(0, place, torch.ones_like(place))
        self._claimed.index_add_(0, place, (claimed * self._ONE).round().long())
        self._right.index_add_(0, place, right.long())

    def reliability(self, accelerator: Accelerator) -> Reliability:
        """Return what all processes counted together."""
        counts = total(accelerator, torch.stack([self._images, self._claimed, self._right])).cpu().numpy()
        return Reliability.of_sums(counts[0], counts[1] / self._ONE, counts[2])


@contextmanager
def inference(model: IncrementalClassifier) -> Generator[None]:
    """Compute with the merged model and without gradients, as long as the context lasts."""
    with torch.inference_mode(), model.merged():
        yield


def _check(task: Task) -> None:
    if not len(task.test):
        raise DataError(
            f"task {task.index}",
            expected="test images to evaluate on",
            got="none",
            next_step="give the source a test folder, or hold some out with data.test_fraction=0.2",
        )
