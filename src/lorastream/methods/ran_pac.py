"""RanPAC: ridge regression on random features of a backbone that is frozen, or adapted to the first task alone.

Source: McDonnell et al., "RanPAC: Random Projections and Pre-trained Models for Continual Learning", NeurIPS 2023
(arXiv 2307.02251), section 4 and algorithm 1; released code RanPAC/RanPAC. Formula: `heads.ridge`.

With `solver = "truncated_svd"` it is LoRanPAC (Peng et al., ICLR 2025, arXiv 2410.00645): the same random features,
without a penalty, by a truncated singular value decomposition that goes on from task to task: `heads.truncated`.

With `first_task_lora` a low-rank update learns the first task under a cosine head, which is dropped after it; then the
network is frozen for good. The source adapts the first task with AdaptFormer, SSF or VPT instead of LoRA. What is exact
of the regression rests on that: it would not survive features that move on.

What may differ: the source takes M = 10,000 random features, for which G alone is 400 MB; here 2,000 (16 MB) are the
default. It holds out a fifth of the task's images drawn at random, here every fifth of each class.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.heads import RandomFeatureHead, RidgeHead, TruncatedHead, features_by_class
from lorastream.heads.truncated import MAX_RANK, TRUNCATION
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class RanPAC:
    """Ridge regression on random features.

    Attributes:
        random_features: M, at least 1 (source: 10,000); memory grows with its square, time with its cube.
        first_task_lora: adapt the backbone to the first task (source: True, with other adapters).
        rank: rank of that update, at least 1.
        targets: the projections that take it.
        solver: `ridge` (RanPAC), or `truncated_svd` (LoRanPAC).
        truncation: of `truncated_svd`, ζ: the share of its singular values left out, from 0 to below 1 (LoRanPAC: ¼).
        max_rank: of `truncated_svd`, K: how many it keeps at most, at least 1 (LoRanPAC: 10,000).
    """

    random_features: Annotated[int, Field(ge=1)] = 2000
    first_task_lora: bool = False
    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    solver: Literal["ridge", "truncated_svd"] = "ridge"
    truncation: Annotated[float, Field(ge=0, lt=1)] = TRUNCATION
    max_rank: Annotated[int, Field(ge=1)] = MAX_RANK

    @property
    def traits(self) -> Traits:
        """The regression weighs all classes anew after every task."""
        head = "truncated" if self.solver == "truncated_svd" else "ridge"
        return Traits(
            gradient_free=not self.first_task_lora,
            keeps_past_parameters_fixed=False,
            head=head,
            rank_policies=("energy", "gated_l1") if self.first_task_lora else (),
        )

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Draw the random features at the first task, and let an update learn it where one is asked for."""
        if isinstance(model.head, TruncatedHead):
            model.head.truncation, model.head.max_rank = self.truncation, self.max_rank
        if not isinstance(model.head, RandomFeatureHead) or len(model.task_sizes) > 1:
            return
        model.head.project(self.random_features, generator=model.randomness.torch("random features"))
        if self.first_task_lora:
            model.head.begin(generator=model.randomness.torch("warm head"))
            model.adapt(self.targets).grow(self.rank, generator=model.randomness.torch("adapters", task.index))

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes; after the first task nothing learns from it."""
        return classification_loss(model, batch, task, "current_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze what learnt, and take the task's images into the regression."""
        if model.adapted and model.adapters.live:
            model.adapters.freeze()
        if isinstance(model.head, RandomFeatureHead):
            model.head.take_in(task.first_class, features_by_class(model.passes(task.train), task.classes))

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        """Return the penalty that was chosen, or the rank that was kept, for the record."""
        if isinstance(model.head, TruncatedHead):
            return {"singular_values": len(model.head.values)}
        return {"ridge_penalty": model.head.penalty} if isinstance(model.head, RidgeHead) else {}
