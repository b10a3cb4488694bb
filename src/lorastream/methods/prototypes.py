"""Prototypes: a frozen backbone and the mean feature of every class; no training at all, the line to beat.

Source: the nearest class mean of Mensink et al. (TPAMI 2013) with cosine similarity on a pretrained backbone, as
SimpleCIL (Zhou et al., "Revisiting Class-Incremental Learning with Pre-Trained Models", IJCV 2024, section 4.1).
"""

from __future__ import annotations

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream import processes
from lorastream.data.task import Batch, Task
from lorastream.heads import PrototypeHead
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class Prototypes:
    """The nearest class mean on frozen features; it has no hyper-parameters."""

    @property
    def traits(self) -> Traits:
        """One pass over a task's images is all."""
        return Traits(gradient_free=True, head="prototype")

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Nothing to prepare: the head has room for the new classes already."""

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the similarities, for those who want to look; nothing learns from it."""
        return classification_loss(model, batch, task, "seen_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Store the mean feature of every class of the task."""
        sums = torch.zeros(len(task.class_names), model.width, dtype=torch.float64, device=model.device)
        counts = torch.zeros(len(task.class_names), dtype=torch.float64, device=model.device)
        for batch, features in model.passes(task.train):
            labels = batch.labels - task.first_class
            sums.index_add_(0, labels, features.double())
            counts += torch.bincount(labels, minlength=len(counts))
        sums, counts = processes.total(sums), processes.total(counts)
        if isinstance(model.head, PrototypeHead):
            model.head.set_prototypes(task.first_class, (sums / counts[:, None]).float())
