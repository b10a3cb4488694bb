"""The ranks of past updates are ordered by what they give the outputs; the weakest make room for the next task.

Source: Li et al., "Energy-Structured Low-Rank Adaptation for Continual Learning" (E2-LoRA), ICML 2026 (arXiv
2605.27482); released code kiddo127/E2-LoRA at 91f4e5d, `class_incremental_learning/utils/inc_net.py`. The paper was
read in abstract, the code in full. With KD on old answers, alignment and its optimiser it is the preset `e2_lora`.

Formula, for every adapted projection at task t, with the inputs x of the task's images under the new weights:

    W = W0 + sum_{k <= t} U_k D_k,     W0 x moves by ΔY = U_t D_t x
    after the task:   U_t D_t = P (P' U_t D_t), P the principal directions of ΔY by falling energy (`linalg.energy`)
    before the next:  of each old update the strongest ranks are kept, as few as hold the share ρ of its energy; where
                      they are more than (t - 1)/t of the output width, ρ falls for all updates until they are not;
                      U_t = the output directions that are free then, orthonormal to all that are kept; D_t = 0

At the first task U_1 (from 0) and D_1 learn, afterwards D_t alone, and the new head rows, under the cross-entropy over
the task's own classes. (The paper calls U_k B and D_k A.) Released ranks are dropped from what the model computes: it
does not quite go on where it ended.

All ranks of a projection together never exceed its output width, whatever the number of tasks. Where `rank` caps a
task's update, it takes directions that were released first, then random ones among those that nothing has used; the
source has no cap, and takes all that are free.

What differs from the code:

- It adapts the fused qkv weight as one projection; here query, key and value are three, each with its own energies.
- Its first update has as many ranks as there are outputs, more than the smaller width can use. Here it has the smaller
  width, so its product learns at the rate r / (3 in): a third of the source's on qkv, a quarter on the MLP's input.
- It takes ΔY from one augmented batch, here from all of the task's images, not augmented.
- It takes the mean off ΔY first, so a direction in which all outputs move alike has no energy; `centred = False` keeps
  it, as the abstract reads.
- It lowers ρ in steps of 1e-5 and keeps a rank of each update; here ρ falls exactly as far as needed, and once there
  are more tasks than outputs the oldest updates keep none, where the code does not end.
- It takes directions without energy from the whole output space, so they may overlap with those that are kept; here
  they stay within the update's own.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.adapters import Adapter, layer_of
from lorastream.data.task import Batch, Task
from lorastream.linalg.energy import further_directions, kept_by_energy, order_by_energy, share_before
from lorastream.methods.losses import classification_loss
from lorastream.methods.moments import input_moments
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class EnergyLoRA:
    """Updates in order of energy, whose weakest ranks are released.

    Attributes:
        rank: the most ranks that a task's update may have, at least 1; None: all that are free (source).
        targets: the projections that take updates (source: query, key, value and the MLP's input).
        energy: ρ, the share of its energy that an old update keeps, above 0, at most 1 (source: 0.99999).
        centred: whether the energy is that of outputs about their mean (code: True).
        before_: by adapter name, for each of its ranks `[R]` the share of its update's energy that stronger ones hold.
    """

    rank: Annotated[int, Field(ge=1)] | None = None
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "key", "value", "mlp_in")
    energy: Annotated[float, Field(gt=0, le=1)] = 0.99999
    centred: bool = True
    before_: dict[str, Tensor] = field(default_factory=dict[str, Tensor], init=False)

    @property
    def traits(self) -> Traits:
        """What little energy the past had in some ranks is gone once a new task begins."""
        return Traits(keeps_past_parameters_fixed=False, starts_where_it_ended=False)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Release the weakest ranks of the past, and let a new update learn in the directions that are free."""
        generator = model.randomness.torch("adapters", task.index)
        for name, adapter in model.adapt(self.targets).items():
            if adapter.ranks:
                up = self._free_directions(name, adapter, generator)
                adapter.grow(up.shape[1], generator=generator, up=up)
            else:
                width = min(adapter.in_features, adapter.out_features)
                adapter.grow(min(self.rank or width, width), generator=generator)
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes."""
        return classification_loss(model, batch, task, "current_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Put the ranks of the new update in order of what they give the outputs of the task's images."""
        model.adapters.freeze()
        moments = input_moments(model, task, centred=self.centred)
        for name, adapter in model.adapters.items():
            *_, (up, down) = adapter.factors()
            ordered = order_by_energy(up, down, moments[layer_of(name)])
            adapter.replace_newest(ordered.up, ordered.down)
            new = share_before(ordered.energies)
            self.before_[name] = torch.cat([self.before_[name].to(new), new]) if name in self.before_ else new

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        """Return the ranks of every update, the largest of all projections; and of each the past's and the newest."""
        kept = {name: sum(adapter.ranks[:-1]) for name, adapter in model.adapters.items()}
        new = {name: adapter.ranks[-1] for name, adapter in model.adapters.items()}
        return {"ranks": model.adapters.ranks, "kept_ranks": kept, "new_ranks": new}

    def _free_directions(self, name: str, adapter: Adapter, generator: torch.Generator) -> Tensor:
        """Release the weakest ranks of an adapter; return the directions `[out, r]` that the new update takes."""
        width, past = adapter.out_features, len(adapter.ranks)
        kept = kept_by_energy(self.before_[name], self.energy, at_most=past * width // (past + 1))
        released = adapter.up_stack[:, ~kept]
        adapter.keep(kept)
        self.before_[name] = self.before_[name][kept]
        free = width - adapter.total_rank
        wanted = min(self.rank or free, free)
        known = torch.cat([adapter.up_stack, released], dim=1)
        missing = max(0, wanted - released.shape[1])
        return torch.cat(
            [released[:, :wanted], further_directions(known, missing, generator=generator).to(known)], dim=1
        )
