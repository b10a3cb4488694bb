"""A LoRA for every task, past ones frozen and summed, with a choice of penalty: O-LoRA, N-LoRA, CLoRA, EWC-LoRA.

Formula, for every adapted projection at task t, with down D_k `[r, in]` and up U_k `[out, r]`:

    W = W0 + sum_{k < t} U_k D_k + U_t D_t
    loss = cross-entropy over the task's own classes + weight · sum over projections of R(U_t, D_t)

U_t (from 0), D_t and the new head rows learn. There is no α/r factor. `penalty` says what R is:

- `orthogonal`, O-LoRA (Wang et al., EMNLP 2023 Findings, arXiv 2310.14152): sum_{k < t} of the entries of |D_k D_t'|;
  weight 0.5, query and value. Absolute entries as in the released code; `overlap = "squared"` sums their squares. The
  code has an L2 term on the new factors besides, with a weight of its own; it is not here.
- `sparse`, N-LoRA (Yang et al., COLING 2025, arXiv 2410.10179): ‖U_t D_t‖₁ as the paper states it, weight 0.4. The
  released code takes the r x r product of the factors instead, which is not the update; it is not offered.
- `null_space`, CLoRA (Lu et al., ACL 2025, arXiv 2410.16801): ‖D_t P‖² + ‖U_t' Q‖² with fixed random orthonormal P, Q
  of `null_space_share` · min(in, out) columns, drawn for each projection from the run's seed and kept nowhere else.
- `fisher`, EWC-LoRA (Zheng et al., ICLR 2026, arXiv 2602.17559): ½ sum F (U_t D_t)², weight 1e7, key and value. F is
  the diagonal Fisher information of the composed weight's rows, F ← decay · F + F_t after every task, decay 1. F_t is
  the mean over the task's images, not augmented, of the squared gradient of each image's cross-entropy, exactly.
- `none`: the plain sum.

What the sources leave open: all but EWC-LoRA are on text only, so their weights for vision are nobody's figures, and
sums over entries grow with the width: on the digits N-LoRA's 0.4 keeps the update near zero. Its weight and EWC-LoRA's
make plain SGD diverge at the rates of the other methods, so their presets use Adam at 5e-4, EWC-LoRA's optimiser.
CLoRA's weight (1) and share (½; the paper goes up to 2048 columns) are ours.
Images are weighed by their own labels; `fisher_labels = "model"` draws labels from the model's answers over the task's
classes, which gives the Fisher information proper.

Past factors are needed for `orthogonal` alone. For the others `after_task` folds the finished update into one constant
term, so neither memory nor the cost of a step grows with the tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.adapters import Adapter
from lorastream.data.task import Batch, Task
from lorastream.linalg.penalties import (
    fisher_penalty,
    null_space_penalty,
    orthogonality_penalty,
    random_basis,
    sparsity_penalty,
)
from lorastream.methods.fisher import FisherLabels, fisher_information
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier

Penalty = Literal["none", "orthogonal", "sparse", "null_space", "fisher"]
WEIGHTS: dict[Penalty, float] = {"none": 0.0, "orthogonal": 0.5, "sparse": 0.4, "null_space": 1.0, "fisher": 1e7}


@dataclass(kw_only=True, config=SETTINGS)
class LoRASum:
    """A sum of LoRAs, one a task, with a penalty on the newest.

    Attributes:
        rank: rank of a task's update, at least 1 (EWC-LoRA: 10).
        targets: the projections that take updates (O-LoRA: query and value, EWC-LoRA: key and value).
        penalty: what keeps the newest update out of the way of the past.
        weight: of the penalty, at least 0; where it is not given, that of the penalty's source: 0.5 orthogonal,
            0.4 sparse, 1 null_space (ours), 1e7 fisher.
        overlap: whether `orthogonal` sums absolute entries (released code) or their squares.
        null_space_share: of `null_space`, columns of P and Q as a share of min(in, out), above 0 and at most 1.
        decay: of `fisher`, what the past's Fisher information is multiplied by after a task, 0 to 1 (source: 1).
        fisher_labels: of `fisher`, the labels of the data, or labels drawn from the model.
        fisher_: of `fisher`, F `[out, in]` by adapter name.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    penalty: Penalty = "none"
    weight: Annotated[float, Field(ge=0)] | None = None
    overlap: Literal["absolute", "squared"] = "absolute"
    null_space_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    decay: Annotated[float, Field(ge=0, le=1)] = 1.0
    fisher_labels: FisherLabels = "data"
    fisher_: dict[str, Tensor] = field(default_factory=dict[str, Tensor], init=False)

    def __post_init__(self) -> None:
        """Take the source's weight where none was given; nothing is penalised before a task begins."""
        self.weight = WEIGHTS[self.penalty] if self.weight is None else self.weight
        self._penalties: list[Callable[[], Tensor]] = []

    @property
    def traits(self) -> Traits:
        """Past updates and head rows stay as they are, whatever the penalty, and a new update begins as zero.

        The penalties are of the factors, which are the update only where no gate stands between them.
        """
        return Traits(rank_policies=("energy",) if self.weight else ("energy", "gated_l1"))

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Append a live update to every projection; past ones stay frozen."""
        adapters = model.adapt(self.targets)
        adapters.grow(self.rank, generator=model.randomness.torch("adapters", task.index))
        self._penalties = self._penalties_of(model) if self.weight else []
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes and the weighted penalty."""
        loss = classification_loss(model, batch, task, "current_classes")
        # Sums over hundreds of thousands of entries are too much for the types of autocast.
        with torch.autocast(loss.device.type, enabled=False):
            for penalty in self._penalties:
                loss = loss + (self.weight or 0.0) * penalty()
        return loss

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the update; estimate the Fisher information, or fold the update, where the penalty says so."""
        self._penalties = []
        model.adapters.freeze()
        if self.penalty == "fisher":
            for name, new in fisher_information(model, task, self.fisher_labels).items():
                past = self.fisher_.get(name)
                self.fisher_[name] = new if past is None else self.decay * past.to(new) + new
        if self.penalty != "orthogonal":
            model.adapters.fold()

    def _penalties_of(self, model: IncrementalClassifier) -> list[Callable[[], Tensor]]:
        """Return for each projection a function that computes its R, with what is constant over the task in it."""
        found: list[Callable[[], Tensor]] = []
        for name, adapter in model.adapters.items():
            up, down = adapter.up, adapter.down
            if up is None or down is None:
                continue
            if self.penalty == "orthogonal":
                # A copy: the stack is written to at every step, though never its past rows.
                past = adapter.down_stack[: -len(down)].clone()
                found.append(partial(orthogonality_penalty, down, past, squared=self.overlap == "squared"))
            elif self.penalty == "sparse":
                found.append(partial(sparsity_penalty, up, down))
            elif self.penalty == "null_space":
                found.append(partial(null_space_penalty, up, down, *self._bases(model, name, adapter)))
            elif self.penalty == "fisher" and name in self.fisher_:
                found.append(partial(fisher_penalty, up, down, self.fisher_[name].to(down)))
        return found

    def _bases(self, model: IncrementalClassifier, name: str, adapter: Adapter) -> tuple[Tensor, Tensor]:
        """Return P `[in, k]` and Q `[out, k]` of a projection, the same at every task."""
        size = max(1, round(self.null_space_share * min(adapter.in_features, adapter.out_features)))
        generator = model.randomness.torch("null space", name)
        widths = (adapter.in_features, adapter.out_features)
        in_basis, out_basis = (random_basis(width, size, generator=generator).to(adapter.scale) for width in widths)
        return in_basis, out_basis
