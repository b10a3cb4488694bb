"""SD-LoRA: the directions of past tasks are kept, their magnitudes learn on with every new one.

Source: Wu et al., "SD-LoRA: Scalable Decoupled Low-Rank Adaptation for Class Incremental Learning", ICLR 2025
(arXiv 2501.13198), equation 4; released code WuYichen-97/SD-Lora-CL at 8bacded, `backbone/lora.py`.

Formula, for every adapted projection at task t, with down D_k, up U_k and n_k the norm of update k:

    W = W0 + sum_{k < t} (α_k / n_k) U_k D_k + α_t U_t D_t

The past U_k and D_k are frozen; U_t, D_t, all α and the new head rows learn, under the cross-entropy over the task's
own classes. One α a task is shared by all projections.

Paper and code differ; each reading is an option, and the default is the code's (it made the published logs):

- `norm`: the code divides by ‖U‖‖D‖ (`product`), the paper by ‖U D‖ (`exact`).
- `normalise_current`: the paper writes every direction at unit norm, the code leaves the current one as it is. Where it
  is normalised, `up` starts as a small Gaussian, for 0/0 has no direction.
- `magnitude_init`: 0.8 in the code, 1 in the paper.
- `carry_magnitudes`: code and Algorithm 1 start all α anew at every task, so the model jumps when a task begins. With
  True it goes on exactly where it ended: the norm of the newest update is folded into its magnitude.
- `magnitude_scope`: `shared` in both; `per_projection` gives every projection its own.
- The optimiser is the recipe's: Adam in the paper, SGD with momentum 0.9 in the code.
- The code computes an orthogonality penalty and does not add it to the loss; it is not here.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lorastream.adapters import Adapter, Adapters
from lorastream.data.task import Batch, Task
from lorastream.linalg.norms import factor_norms, product_norm
from lorastream.methods.losses import cross_entropy
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier

Norm = Literal["product", "exact", "none"]


class Magnitudes:
    """The parametrisation: s_k = α_k / n_k for past updates; α_t, or α_t / n_t, for the current one.

    Written as s_k = s⁰_k + (α_k - α⁰_k) / n_k around the scale s⁰ at the start of the task, which is the same and makes
    a start with s⁰ the scale so far exact to the bit.

    Args:
        adapters: all adapters, the newest update live.
        method: whose options say how.
    """

    def __init__(self, adapters: Adapters, method: SDLoRA) -> None:
        self.norm: Norm = method.norm
        self.normalise_current = method.normalise_current
        norms = torch.stack([self._norms(adapter) for adapter in adapters])
        begin = torch.full_like(norms, method.magnitude_init)
        scale = begin / norms
        if method.carry_magnitudes:
            scale[:, :-1] = torch.stack([_scale_per_task(adapter) for adapter in adapters])[:, :-1]
            begin[:, :-1] = (scale * norms)[:, :-1]
        if method.magnitude_scope == "shared":
            begin = begin.mean(dim=0, keepdim=True).expand_as(begin)
        self.begin, self.scale, self.norms = begin, scale, norms
        values = begin[0] if method.magnitude_scope == "shared" else begin
        self.values = nn.Parameter(values.clone())
        self.rows = {id(adapter): row for row, adapter in enumerate(adapters)}
        tasks = [task for task, rank in enumerate(adapters.ranks) for _ in range(rank)]
        self.task_of_column = torch.tensor(tasks, device=norms.device)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The magnitudes."""
        return (self.values,)

    def __call__(self, adapter: Adapter) -> Tensor:
        """Return the scale of every column of an adapter, `[R]`."""
        row = self.rows[id(adapter)]
        values = self.values if self.values.dim() == 1 else self.values[row]
        per_task = self.scale[row] + (values - self.begin[row]) / self.norms[row]
        if self.normalise_current and adapter.up is not None and adapter.down is not None:
            current = values[-1:] / _norm(adapter.up, adapter.down, self.norm)
            per_task = torch.cat([per_task[:-1], current])
        return per_task[self.task_of_column]

    def _norms(self, adapter: Adapter) -> Tensor:
        """Return `[tasks]`, what each update is divided by; 1 for the current one, whose norm is taken as it learns."""
        past = [_norm(up, down, self.norm) for up, down in list(adapter.factors())[:-1]]
        return torch.stack([*past, adapter.scale.new_ones(())])


@dataclass(kw_only=True, config=SETTINGS)
class SDLoRA:
    """SD-LoRA with every difference between paper and released code as an option.

    Attributes:
        rank: rank of a task's update, at least 1 (source: 10).
        targets: the projections that take updates (source: query and value).
        norm: what a past update is divided by (paper: exact, code: product).
        normalise_current: whether the current update is divided by its norm too (paper: True, code: False).
        magnitude_init: where the magnitudes start (paper: 1, code: 0.8).
        carry_magnitudes: keep the magnitudes learnt so far (paper and code: False).
        magnitude_scope: one magnitude a task for all projections (paper and code), or one for each projection.
        up_std: standard deviation of `up` at the start where the current update is normalised, above 0 (ours).
        magnitudes_: the magnitudes, `[tasks]` or `[projections, tasks]`.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    norm: Norm = "product"
    normalise_current: bool = False
    magnitude_init: Annotated[float, Field(gt=0)] = 0.8
    carry_magnitudes: bool = False
    magnitude_scope: Literal["shared", "per_projection"] = "shared"
    up_std: Annotated[float, Field(gt=0)] = 0.01
    magnitudes_: Tensor | None = field(default=None, init=False)

    @property
    def traits(self) -> Traits:
        """The model goes on where it ended only where magnitudes are carried and the new update starts at zero."""
        return Traits(starts_where_it_ended=self.carry_magnitudes and not self.normalise_current)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Append a live update; give every update a magnitude that learns."""
        adapters = model.adapt(self.targets)
        generator = model.randomness.torch("adapters", task.index)
        adapters.grow(self.rank, generator=generator, up_std=self.up_std if self.normalise_current else 0.0)
        magnitudes = Magnitudes(adapters, self)
        adapters.scale_by(magnitudes)
        self.magnitudes_ = magnitudes.values
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes."""
        return cross_entropy(model(batch.images), batch, task, "current_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the update and the scales; the model computes the same as before."""
        del task
        model.adapters.freeze()
        self.magnitudes_ = None if self.magnitudes_ is None else self.magnitudes_.detach()

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        """Return the magnitudes after the task, and the ranks, for the record."""
        magnitudes = [] if self.magnitudes_ is None else self.magnitudes_.tolist()
        return {"magnitudes": magnitudes, "ranks": model.adapters.ranks}


def _norm(up: Tensor, down: Tensor, norm: Norm) -> Tensor:
    if norm == "none":
        return up.new_ones(())
    value = factor_norms(up, down) if norm == "product" else product_norm(up, down)
    return torch.where(value > 0, value, torch.ones_like(value))


def _scale_per_task(adapter: Adapter) -> Tensor:
    """Return `[tasks]`: the scale of each update, the same in all of its columns."""
    first = torch.tensor([0, *adapter.ranks[:-1]]).cumsum(dim=0)
    return adapter.scale[first.to(adapter.scale.device)]
