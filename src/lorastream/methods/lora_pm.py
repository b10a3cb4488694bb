"""LoRA-P&M: a task is learnt under perturbation, then as much of it is merged as suits all tasks, in closed form.

Source: Qiu et al., "Train with Perturbation, Infer after Merging: A Two-Stage Framework for Continual Learning",
NeurIPS 2025 (arXiv 2505.22389). Formula, for every adapted projection at task t, with Ŵ the merged weight so far:

    learnt with   W = Ŵ + (1 + ε) U D,    ε = e, 0 or -e, drawn anew at every step
    merged to     Ŵ <- Ŵ + a U D,    a least for the losses of all tasks: `linalg.merging`

U (from 0), D and the new head rows learn, under the cross-entropy over the task's own classes. The diagonal Fisher
information of each task is taken at the weights it was learnt to, before merging; a is one number for all projections
and 1 at the first task. The three ε, each in a third of the steps, stand for a penalty on the curvature along the
update by second differences, at no further pass.

What may differ: we worked from the paper's text, and its authors' code was not looked at. The Fisher information is
exact for each image (`methods.fisher`), of its own label, and the mean over the task's images. a is cut to [0, 1]. The
optimiser is the recipe's: AdamW in the source, 1e-3, and 1e-2 for the head.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.adapters import Adapter
from lorastream.data.task import Batch, Task
from lorastream.linalg.merging import Merge, best_share, slope_after_merge
from lorastream.methods.fisher import fisher_information
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


class Perturbation:
    """The parametrisation: the live update times 1 + ε, the same for all projections.

    Args:
        method: whose `factor_` is 1 + ε.
    """

    def __init__(self, method: LoRAPM) -> None:
        self.method = method

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The factor, which changes from step to step."""
        return (self.method.factor_,)

    def __call__(self, adapter: Adapter) -> Tensor:
        """Return the scale of every column of an adapter, `[rank]`: past updates are folded."""
        return adapter.scale * self.method.factor_.to(adapter.scale)


@dataclass(kw_only=True, config=SETTINGS)
class LoRAPM:
    """One merged weight, and an update a task that is learnt under perturbation.

    Attributes:
        rank: rank of a task's update, at least 1 (source: 10).
        targets: the projections that take updates (source: key and value).
        perturbation: e, at least 0 and below 1 (source: 0.5); 0: merging alone.
        step_: optimiser steps of the task so far.
        factor_: 1 + ε of the step to come.
        share_: a of the last task.
        fisher_: the sum of the tasks' Fisher information, `[out, in]` by adapter name.
        slope_: the slope of the past tasks' losses at the merged weight, `[out, in]` by adapter name.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("key", "value")
    perturbation: Annotated[float, Field(ge=0, lt=1)] = 0.5
    step_: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64), init=False)
    factor_: Tensor = field(default_factory=lambda: torch.ones(()), init=False)
    share_: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float64), init=False)
    fisher_: dict[str, Tensor] = field(default_factory=dict[str, Tensor], init=False)
    slope_: dict[str, Tensor] = field(default_factory=dict[str, Tensor], init=False)

    @property
    def traits(self) -> Traits:
        """What was merged and past head rows stay as they are, and a new update begins as zero."""
        return Traits(rank_policies=("energy", "gated_l1"))

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Let a new update learn, perturbed from the first step on."""
        adapters = model.adapt(self.targets)
        adapters.grow(self.rank, generator=model.randomness.torch("adapters", task.index))
        self.step_ = torch.zeros((), dtype=torch.int64)
        self._perturb(model, task)
        adapters.scale_by(Perturbation(self))
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes."""
        return classification_loss(model, batch, task, "current_classes")

    def after_step(self, model: IncrementalClassifier, task: Task) -> None:
        """Draw the next perturbation."""
        self.step_ = self.step_ + 1
        self._perturb(model, task)

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Take the perturbation off, see what mattered to the task, and merge the best share of its update."""
        model.adapters.scale_by(None)
        model.adapters.freeze()
        merges = self._merges(model, fisher_information(model, task, "data"))
        share = best_share(merges.values())
        for name, adapter in model.adapters.items():
            self.slope_[name] = slope_after_merge(merges[name], share)
            self.fisher_[name] = merges[name].past + merges[name].new
            adapter.scale.mul_(share)
        self.share_ = torch.tensor(share, dtype=torch.float64)
        model.adapters.fold()

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        """Return the share that was merged, for the record."""
        del model
        return {"merged_share": float(self.share_)}

    def _perturb(self, model: IncrementalClassifier, task: Task) -> None:
        """Draw ε of the step to come, the same on every process and after resuming."""
        generator = model.randomness.torch("perturbation", task.index, int(self.step_))
        sign = int(torch.randint(-1, 2, (), generator=generator))
        self.factor_ = torch.tensor(1 + sign * self.perturbation, device=model.device)

    def _merges(self, model: IncrementalClassifier, new: dict[str, Tensor]) -> dict[str, Merge]:
        """Return for each adapter what its merge is computed from; its newest update is past, at scale 1."""
        found: dict[str, Merge] = {}
        for name, adapter in model.adapters.items():
            ((up, down),) = adapter.factors()
            nothing = torch.zeros_like(new[name])
            past, slope = (known.get(name, nothing).to(nothing) for known in (self.fisher_, self.slope_))
            found[name] = Merge(update=up @ down, new=new[name], past=past, slope=slope)
        return found
