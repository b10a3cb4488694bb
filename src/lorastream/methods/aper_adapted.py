"""APER without its merge: a LoRA learns the first task, then the network is frozen and class means answer.

Source: Zhou et al., "Revisiting Class-Incremental Learning with Pre-Trained Models: Generalizability and Adaptivity are
All You Need", IJCV 2024 (arXiv 2303.07338), section 4; released code zhoudw-zdw/RevisitingCIL. Formula, with f the
features of the network that learnt the first task and m_c the mean of f over the images of class c:

    answer: argmax_c cos(f, m_c)

The first task is learnt under a cosine head. After every task, the first included, the head's rows are the means.

What differs, and why it has a name of its own: APER answers from the features of the pretrained and of the adapted
network side by side, which takes two passes of two networks and cannot be merged into one. Here is the adapted half
alone, one pass and a plain backbone, as "NCM after first-task tuning" in RanPAC's ablation. The source adapts with
AdaptFormer, SSF, VPT or all weights instead of LoRA.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.heads import CosineHead, features_by_class
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class APERAdapted:
    """Class means of features that were adapted to the first task.

    Attributes:
        rank: rank of the update, at least 1.
        targets: the projections that take it.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")

    @property
    def traits(self) -> Traits:
        """What the first task taught stays, and so do the means."""
        return Traits(head="cosine")

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Let an update and the head learn the first task; after it nothing learns."""
        if len(model.task_sizes) > 1:
            model.head.requires_grad_(requires_grad=False)
            return
        model.adapt(self.targets).grow(self.rank, generator=model.randomness.torch("adapters", task.index))

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes; after the first task nothing learns from it."""
        return classification_loss(model, batch, task, "current_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze what learnt, and let the rows of the new classes be their mean features."""
        model.adapters.freeze()
        features = features_by_class(model.passes(task.train), task.classes)
        means = torch.stack([own.double().mean(dim=0) for own in features])
        if isinstance(model.head, CosineHead):
            with torch.no_grad():
                model.head.weights[-1].copy_(means)
