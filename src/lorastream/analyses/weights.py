"""The backbone at any weights: those after a task, between two of them, or on the plane through three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.analyses.finished import FinishedRun
from lorastream.data.task import Task
from lorastream.errors import MethodError
from lorastream.learner import Learner
from lorastream.model import IncrementalClassifier
from lorastream.training.evaluate import inference

Weights = Mapping[str, Tensor]


def merged_weights(model: IncrementalClassifier, *, what: str) -> dict[str, Tensor]:
    """Return the weights that learning has changed, all updates added: of the adapted layers, or the whole backbone's.

    Args:
        model: nothing live.
        what: the analysis that asks, for the message.

    Raises:
        MethodError: the method changes no weights of the backbone.
    """
    if not model.adapted and not model.backbone.trained:
        raise MethodError(
            f"analysis {what}",
            expected="a run whose method changes weights of the backbone",
            got="one that leaves the backbone as it was",
            next_step="take a run of sd_lora, inf_lora, sequential_lora or finetune",
        )
    with torch.no_grad(), model.merged():
        parameters = dict(model.backbone.network.named_parameters())
        names = list(parameters) if model.backbone.trained else [f"{n}.weight" for n in model.adapters.layers]
        return {name: parameters[name].detach().clone() for name in names}


def weights_after(run: FinishedRun, n_tasks: int, *, what: str) -> tuple[Learner, list[Weights]]:
    """Return a learner as the run's was after so many tasks, and the merged weights after each of them.

    Raises:
        MethodError: the method changes no weights of the backbone; `what` is the analysis that asks.
    """
    learner = run.after(1)
    found: list[Weights] = [merged_weights(learner.model, what=what)]
    for n in range(2, n_tasks + 1):
        run.put(learner, n)
        found.append(merged_weights(learner.model, what=what))
    return learner, found


def combined(several: Sequence[Weights], shares: Sequence[float]) -> dict[str, Tensor]:
    """Return the sum of weights, each times its share: (1 - λ) W1 + λ W2 with the shares 1 - λ and λ."""
    return {
        name: torch.stack([share * weights[name] for weights, share in zip(several, shares, strict=True)]).sum(dim=0)
        for name in several[0]
    }


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How the model does on some images of one task.

    Attributes:
        accuracy: choosing among the classes of all tasks that are looked at, 0 to 1.
        task_restricted_accuracy: choosing among the own task's classes.
        loss: mean cross-entropy over the classes of all tasks that are looked at.
        task_restricted_loss: over the own task's classes, as in training.
    """

    accuracy: float
    task_restricted_accuracy: float
    loss: float
    task_restricted_loss: float


class Probe:
    """Measures a model at any weights on test images of some tasks; the head stays as it is.

    Args:
        learner: its head knows the tasks; it serves nothing else afterwards.
        tasks: whose classes are told apart.
        images: of each task at most, spread evenly over its test images.
    """

    def __init__(self, learner: Learner, tasks: Sequence[Task], images: int) -> None:
        self.model, self.tasks = learner.model, tasks
        self.autocast = learner.accelerator.autocast
        self.labels = torch.tensor([label for task in tasks for label in task.classes], device=self.model.device)
        self.batches = [_some(task, images, self.model.device) for task in tasks]

    def at(self, weights: Weights) -> list[Measured]:
        """Return how the model with these weights does on each task."""
        with inference(self.model), self.autocast():
            parameters = dict(self.model.backbone.network.named_parameters())
            for name, value in weights.items():
                parameters[name].copy_(value)
            return [self._measured(task, *batch) for task, batch in zip(self.tasks, self.batches, strict=True)]

    def _measured(self, task: Task, images: Tensor, labels: Tensor) -> Measured:
        logits = torch.cat([self.model(part) for part in images.split(64)]).float()
        among = logits[:, self.labels]
        place = (self.labels[None, :] == labels[:, None]).int().argmax(dim=1)
        own, own_place = logits[:, task.classes.start : task.classes.stop], labels - task.first_class
        return Measured(
            accuracy=float((among.argmax(dim=1) == place).double().mean()),
            task_restricted_accuracy=float((own.argmax(dim=1) == own_place).double().mean()),
            loss=float(F.cross_entropy(among, place)),
            task_restricted_loss=float(F.cross_entropy(own, own_place)),
        )


def _some(task: Task, images: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return test images `[n, 3, s, s]` of a task and their labels `[n]`."""
    test = task.test
    chosen = np.unique(np.linspace(0, len(test) - 1, min(images, len(test))).round().astype(np.int64))
    names = [test.names[i] for i in chosen.tolist()]
    few = replace(test, rows=test.rows[chosen], labels=test.labels[chosen], names=names)
    batches = list(few.batches(64, device=device))
    return torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])
