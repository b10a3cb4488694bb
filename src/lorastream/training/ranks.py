"""What chooses how many ranks a task's update has, for any method that finishes an update with its task.

A policy looks at each projection's live update U D on its own, U `[out, r]`, D `[r, in]`; at least one rank is kept.

- `energy`: once the task is learnt, U D is cut to the fewest ranks that hold the share ρ of its energy, its squared
  singular values: sum_{i <= k} σ_i² >= ρ sum_i σ_i² (`linalg.energy`; no dense product is formed). It is the step of
  E2-LoRA (Li et al., ICML 2026, arXiv 2605.27482) with the update's own energy in place of that of its outputs.
- `gated_l1`, SoRA (Ding et al., EMNLP 2023, arXiv 2311.11696): the task is learnt as U diag(g) D, and after every
  optimiser step the gates go through the proximal step of λ‖g‖₁ at the learning rate η:

      g_i <- sign(g_i) max(|g_i| - η λ, 0)

  Ranks whose gate is 0 at the end are deleted, and the other gates go into U. The released code (TsinghuaC3I/SoRA at
  7ca93d5) draws g from N(0, 1), where it is 1 here; one of its two optimisers shrinks by λ alone, not by η λ; and it
  sets to 0 what is below that after shrinking, so that it cuts at twice of it.

Ranks are set to zero before the method settles the task, for it may fold the update, and deleted afterwards where the
update is still told apart: a rank of zero changes nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.adapters import Adapter, Adapters
from lorastream.linalg.energy import kept_by_energy, order_by_energy, share_before
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import RankSettings

SHARE, PENALTY = 0.99, 1.0
"""Where the settings leave them open; both are ours."""


class Ranks:
    """The ranks of one task's update.

    Args:
        adapters: whose newest update is live.
        settings: the policy.

    Attributes:
        kept: by adapter name, how many ranks were kept; empty before `settle`.
    """

    def __init__(self, adapters: Adapters, settings: RankSettings) -> None:
        self.adapters, self.settings = adapters, settings
        self.kept: dict[str, int] = {}
        if settings.policy == "gated_l1":
            for adapter in adapters:
                adapter.open_rank_gate()

    def after_step(self, optimiser: torch.optim.Optimizer) -> None:
        """Shrink the gates after an optimiser step."""
        rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
        penalty = PENALTY if self.settings.penalty is None else self.settings.penalty
        with torch.no_grad():
            for adapter in self.adapters:
                if adapter.rank_gate is not None:
                    adapter.rank_gate.copy_(F.softshrink(adapter.rank_gate, rates[id(adapter.rank_gate)] * penalty))

    def settle(self) -> None:
        """Set the ranks that are not kept to zero, once the task is learnt and before the method settles it."""
        share = SHARE if self.settings.share is None else self.settings.share
        for name, adapter in self.adapters.items():
            if self.settings.policy == "energy":
                _cut(adapter, share)
            else:
                adapter.close_rank_gate()
            self.kept[name] = max(1, int(_live_ranks(adapter).sum()))

    def delete(self) -> None:
        """Delete the ranks of zero, once the method has settled the task; nothing is left of them where it folded."""
        for adapter in self.adapters:
            if adapter.ranks and adapter.ranks[-1]:
                *_, (up, down) = adapter.factors()
                newest = _not_zero(up, down)
                newest[0] |= not newest.any()
                past = newest.new_ones(adapter.total_rank - len(newest))
                adapter.keep(torch.cat([past, newest]))

    def figures(self) -> dict[str, Any]:
        """Return how many ranks of the task's update were kept in each projection, for the record."""
        return {"kept_ranks": self.kept}


def ranks_of(model: IncrementalClassifier, settings: RankSettings | None) -> Ranks | None:
    """Return what chooses the ranks of a task that the method has prepared; None where nothing does or is to learn."""
    if settings is None or not model.adapted or not model.adapters.live:
        return None
    return Ranks(model.adapters, settings)


@torch.no_grad()
def _cut(adapter: Adapter, share: float) -> None:
    """Put the live update's ranks in order of energy, and set those to zero that the share does not need."""
    if adapter.up is None or adapter.down is None:
        return
    ordered = order_by_energy(adapter.up, adapter.down)
    kept = kept_by_energy(share_before(ordered.energies), share, at_most=len(ordered.energies))
    adapter.up.copy_(ordered.up * kept)
    adapter.down.copy_(ordered.down * kept[:, None])


def _live_ranks(adapter: Adapter) -> Tensor:
    return torch.zeros(0) if adapter.up is None or adapter.down is None else _not_zero(adapter.up, adapter.down)


def _not_zero(up: Tensor, down: Tensor) -> Tensor:
    """Return bool `[r]`: which ranks of a product are not zero."""
    return up.detach().any(dim=0) & down.detach().any(dim=1)
