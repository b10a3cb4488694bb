"""APER: a LoRA learns the first task; then class means answer, of the pretrained and the adapted features side by side.

Source: Zhou et al., "Revisiting Class-Incremental Learning with Pre-Trained Models: Generalizability and Adaptivity are
All You Need", IJCV 2024 (arXiv 2303.07338), section 4; released code zhoudw-zdw/RevisitingCIL at 2de3780,
`models/adam_adapter.py`. Formula, with g the features of the pretrained network, f those of the network that learnt
the first task, and m_c the mean of [g, f] over the images of class c:

    answer: argmax_c cos([g, f], m_c)

The first task is learnt on f alone under a cosine head, which is dropped. After every task, the first included, the
head's rows are the means. An image takes two passes, one without the update and one with it, so that nothing can be
merged. With `features = "adapted"` the answer is argmax_c cos(f, m_c), in one pass of a plain backbone: "NCM after
first-task tuning" in RanPAC's ablation.

What differs: the source adapts with AdaptFormer, SSF, VPT or all weights instead of LoRA, and its cosine head learns
the factor of the cosines, here 20.
"""

from __future__ import annotations

from typing import Annotated, Literal

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
class APER:
    """Class means of features that were adapted to the first task, beside the pretrained ones.

    Attributes:
        rank: rank of the update, at least 1.
        targets: the projections that take it.
        features: what the means are of: both kinds of features, or the adapted ones alone.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    features: Literal["both", "adapted"] = "both"

    @property
    def traits(self) -> Traits:
        """What the first task taught stays, and so do the means; both kinds of features take a pass each."""
        both = self.features == "both"
        return Traits(
            head="cosine",
            merges_exactly=not both,
            inference_passes=2 if both else 1,
            rank_policies=("energy", "gated_l1"),
        )

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
        model.pretrained_beside = self.features == "both"
        features = features_by_class(model.passes(task.train), task.classes)
        if isinstance(model.head, CosineHead):
            model.head.set_newest(torch.stack([own.double().mean(dim=0) for own in features]))
