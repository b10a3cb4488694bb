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
  True it goes on exactly where it ended: the norm of the newest update is folded into its magnitude. A task of one
  class always does: among its own classes alone the loss is 0, and nothing would bring the magnitudes back.
- `magnitude_scope`: `shared` in both; `per_projection` gives every projection its own.
- The optimiser is the recipe's: Adam in the paper, SGD with momentum 0.9 in the code.
- The code computes an orthogonality penalty and does not add it to the loss; it is not here.

Rank reduction (SD-LoRA-RR, equation 6): `rank` may be a list, the rank of each task. The paper switches to rank 8 at
its task 4 and to 6 at its task 8 (preset `sd_lora_rr`), the code one task later (`sd_lora_rr_code`).

Absorption (SD-LoRA-KD, equations 7 and 8; the authors released no code): after a task, its direction is fitted by those
stored, D_t ~ sum β_k D_k; where the residual is at most a threshold, β is added to their magnitudes and D_t is dropped.
What the paper leaves open is named:

- `absorb`: one fit over all projections together (`joint`, the only one that a shared α can take up), or each alone.
- `absorb_norm`: what the directions in the fit are divided by.
- `absorb_residual`: Frobenius norm, its square, root mean square, or mean square of the entries.
- `absorb_scale`: the paper adds β; adding β times the magnitude and norm of D_t instead keeps what the model computes.
- What was absorbed is kept apart (`absorbed_`), for α itself begins anew at the next task.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lorastream.adapters import Adapter, Adapters
from lorastream.adapters.directions import Fit, Norm, Residual, direction_norms, fit_newest, norm_of
from lorastream.data.task import Batch, Task
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier

Ranks = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    Field(min_length=1),
    BeforeValidator(lambda given: (given,) if isinstance(given, int) else given),
]
"""One rank for all tasks, or one for each."""


class Magnitudes:
    """The parametrisation: s_k = α_k / n_k for past updates; α_t, or α_t / n_t, for the current one.

    Written as s_k = s⁰_k + (α_k - α⁰_k) / n_k around the scale s⁰ at the start of the task, which is the same and makes
    a start with s⁰ the scale so far exact to the bit.

    Args:
        adapters: all adapters, the newest update live.
        method: whose options say how.
        carry: go on with the scales so far, whatever else the options say.
    """

    def __init__(self, adapters: Adapters, method: SDLoRA, *, carry: bool) -> None:
        self.norm: Norm = method.norm
        self.normalise_current = method.normalise_current
        norms = torch.stack([self._norms(adapter) for adapter in adapters])
        begin = torch.full_like(norms, method.magnitude_init)
        scale = begin / norms
        if method.absorbed_ is not None:
            scale[:, :-1] += method.absorbed_.to(scale) / norms[:, :-1]
        if carry:
            scale[:, :-1] = torch.stack([_scale_per_task(adapter) for adapter in adapters])[:, :-1]
            begin[:, :-1] = (scale * norms)[:, :-1]
        if method.magnitude_scope == "shared":
            begin = begin.mean(dim=0, keepdim=True).expand_as(begin)
        self.begin, self.scale, self.norms = begin, scale, norms
        values = begin[0] if method.magnitude_scope == "shared" else begin
        self.values = nn.Parameter(values.clone())
        self.rows = {id(adapter): row for row, adapter in enumerate(adapters)}
        self.task_of_column = [adapter.update_of_column() for adapter in adapters]

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
            current = values[-1:] / norm_of(adapter.up, adapter.down, self.norm)
            per_task = torch.cat([per_task[:-1], current])
        return per_task[self.task_of_column[row]]

    def _norms(self, adapter: Adapter) -> Tensor:
        """Return `[tasks]`, what each update is divided by; 1 for the current one, whose norm is taken as it learns."""
        return torch.cat([direction_norms(adapter, self.norm)[:-1], adapter.scale.new_ones(1)])


@dataclass(kw_only=True, config=SETTINGS)
class SDLoRA:
    """SD-LoRA with every difference between paper and released code as an option.

    Attributes:
        rank: rank of a task's update, at least 1 (source: 10); or of each task's, the last one going on (RR).
        targets: the projections that take updates (source: query and value).
        norm: what a past update is divided by (paper: exact, code: product).
        normalise_current: whether the current update is divided by its norm too (paper: True, code: False).
        magnitude_init: where the magnitudes start (paper: 1, code: 0.8).
        carry_magnitudes: keep the magnitudes learnt so far (paper and code: False).
        magnitude_scope: one magnitude a task for all projections (paper and code), or one for each projection.
        up_std: standard deviation of `up` at the start where the current update is normalised, above 0 (ours).
        absorb: whether directions are fitted by those stored: not, all projections together, or each alone (KD).
        absorb_threshold: the largest residual at which a direction is dropped, above 0 (paper: 9e-4).
        absorb_norm: what the directions in the fit are divided by.
        absorb_residual: how the residual is measured: `fro`, its square `fro2`, `rms` or `mse` over the entries.
        absorb_scale: what is added to the magnitudes: β (`paper`), or what keeps the model's answers (`preserving`).
        magnitudes_: the magnitudes, `[updates]` or `[projections, updates]`.
        absorbed_: what absorption added to them, `[projections, updates]`.
        residuals_: of the newest direction, by norm and reading; the mean over the projections where each is fitted.
        dropped_: how many updates of projections were dropped at the last task and so far, and bytes saved: `[3]`.
    """

    rank: Ranks = (10,)
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    norm: Norm = "product"
    normalise_current: bool = False
    magnitude_init: Annotated[float, Field(gt=0)] = 0.8
    carry_magnitudes: bool = False
    magnitude_scope: Literal["shared", "per_projection"] = "shared"
    up_std: Annotated[float, Field(gt=0)] = 0.01
    absorb: Literal["no", "joint", "per_projection"] = "no"
    absorb_threshold: Annotated[float, Field(gt=0)] = 9e-4
    absorb_norm: Norm = "exact"
    absorb_residual: Residual = "fro"
    absorb_scale: Literal["paper", "preserving"] = "paper"
    magnitudes_: Tensor | None = field(default=None, init=False)
    absorbed_: Tensor | None = field(default=None, init=False)
    residuals_: dict[str, Tensor] = field(default_factory=dict, init=False)
    dropped_: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.int64), init=False)

    @property
    def traits(self) -> Traits:
        """The model goes on where it ended only where magnitudes are carried and the new update starts at zero.

        A gate would change the norm that the current update is divided by.
        """
        return Traits(
            starts_where_it_ended=self.carry_magnitudes and not self.normalise_current,
            rank_policies=("energy",) if self.normalise_current else ("energy", "gated_l1"),
        )

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Append a live update; give every update a magnitude that learns."""
        adapters = model.adapt(self.targets)
        generator = model.randomness.torch("adapters", task.index)
        up_std = self.up_std if self.normalise_current else 0.0
        adapters.grow(self.rank_of(task.index), generator=generator, up_std=up_std)
        learns_nothing = len(task.class_names) == 1
        magnitudes = Magnitudes(adapters, self, carry=self.carry_magnitudes or learns_nothing)
        adapters.scale_by(magnitudes)
        self.magnitudes_ = magnitudes.values
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes."""
        return classification_loss(model, batch, task, "current_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the update and the scales; the model computes the same as before, unless a direction is absorbed."""
        del task
        model.adapters.freeze()
        self.magnitudes_ = None if self.magnitudes_ is None else self.magnitudes_.detach()
        if self.absorb != "no":
            self._absorb(model.adapters)

    def rank_of(self, task: int) -> int:
        """Return the rank of a task's update, tasks counted from 0."""
        return self.rank[min(task, len(self.rank) - 1)]

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        """Return the magnitudes after the task and the ranks for the record, and what came of absorption."""
        magnitudes = [] if self.magnitudes_ is None else self.magnitudes_.tolist()
        found: dict[str, Any] = {"magnitudes": magnitudes, "ranks": model.adapters.ranks}
        if self.absorb != "no":
            now, so_far, saved = self.dropped_.tolist()
            found["absorbed"] = {"projections": now, "projections_so_far": so_far, "bytes_saved": saved}
            found["residuals"] = {
                norm: dict(zip(get_args(Residual), values.tolist(), strict=True))
                for norm, values in self.residuals_.items()
            }
        return found

    def _absorb(self, adapters: Adapters) -> None:
        """Drop the newest direction where those stored can say the same, and let their magnitudes say it."""
        past = len(adapters.ranks) - 1
        before = torch.zeros(len(adapters), past) if self.absorbed_ is None else self.absorbed_
        self.absorbed_ = torch.cat([before, before.new_zeros(len(adapters), past + 1 - before.shape[1])], dim=1)
        self.dropped_[0] = 0
        if not past:
            return
        fits = fit_newest(adapters, jointly=self.absorb == "joint")
        self.residuals_ = {norm: _mean_readings(found) for norm, found in fits.items()}
        chosen = fits[self.absorb_norm]
        drops = [fit.readings[self.absorb_residual] <= self.absorb_threshold for fit in chosen]
        for row, adapter in enumerate(adapters):
            if drops[row]:
                self._take_up(adapter, chosen[row].coefficients, self.absorbed_[row])
                adapter.drop_newest(keep_place=not all(drops))
        if all(drops):
            self.absorbed_ = self.absorbed_[:, :-1]
            self.magnitudes_ = None if self.magnitudes_ is None else self.magnitudes_[..., :-1]

    def _take_up(self, adapter: Adapter, coefficients: Tensor, absorbed: Tensor) -> None:
        """Add a fit to the scales of one adapter, and to the row of `absorbed_` that is its own."""
        divisors = direction_norms(adapter, self.absorb_norm).double()
        contribution = 1.0 if self.absorb_scale == "paper" else _scale_per_task(adapter)[-1].double() * divisors[-1]
        change = contribution * coefficients / divisors[:-1]
        columns = adapter.update_of_column()[: adapter.total_rank - adapter.ranks[-1]]
        adapter.scale[: len(columns)] += change[columns].to(adapter.scale)
        absorbed[:-1] += (change * direction_norms(adapter, self.norm).double()[:-1]).to(absorbed)
        stored = adapter.ranks[-1] * (adapter.in_features + adapter.out_features + 1) * adapter.scale.element_size()
        self.dropped_ += torch.tensor([1, 1, stored])


def _mean_readings(fits: list[Fit]) -> Tensor:
    """Return `[4]`: the mean residual over the projections, in the order of `Residual`."""
    return torch.tensor([list(fit.readings.values()) for fit in fits], dtype=torch.float64).mean(dim=0)


def _scale_per_task(adapter: Adapter) -> Tensor:
    """Return `[updates]`: the scale of each update, the same in all of its columns; 0 of one that was dropped."""
    found = adapter.scale.new_zeros(len(adapter.ranks))
    return found.index_copy_(0, adapter.update_of_column(), adapter.scale)
