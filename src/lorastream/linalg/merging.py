"""Merging weights task by task: how much of a task's update to take, for the losses of all tasks together.

Source: P&M (Qiu et al., NeurIPS 2025, arXiv 2505.22389). Around the weights θ_i* that task i was learnt to, its loss is
taken to be ½ (θ - θ_i*)' F_i (θ - θ_i*) with a diagonal F_i. Along the update Δ from the merged weights θ̂ the sum of
all is least at θ̂ + a Δ, and as θ_t* = θ̂ + Δ, with g = sum_{i<t} F_i (θ̂ - θ_i*) the slope of the past:

    a = - sum_{i<=t} (θ̂ - θ_i*)' F_i Δ / sum_{i<=t} Δ' F_i Δ = (Δ' F_t Δ - g' Δ) / (Δ' F_t Δ + Δ' sum_{i<t} F_i Δ)

So two numbers a weight are enough at any number of tasks: sum F_i and g, which follows the merge
(`slope_after_merge`). No θ_i* is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Merge:
    """One weight that is to be merged; all of one shape.

    Attributes:
        update: Δ.
        new: F_t, at least 0.
        past: sum of F_i over past tasks, at least 0.
        slope: g.
    """

    update: Tensor
    new: Tensor
    past: Tensor
    slope: Tensor


def best_share(merges: Iterable[Merge]) -> float:
    """Return a for several weights together, cut to [0, 1]; 1 where nothing has any curvature."""
    falls = curvature = 0.0
    for one in merges:
        update = one.update.double()
        new = float((one.new * update.square()).sum())
        falls += new - float((one.slope * update).sum())
        curvature += new + float((one.past * update.square()).sum())
    return min(1.0, max(0.0, falls / curvature)) if curvature else 1.0


def slope_after_merge(merge: Merge, share: float) -> Tensor:
    """Return g after a share a was merged and the newest task is past: g + a sum_{i<t} F_i Δ - (1 - a) F_t Δ."""
    return merge.slope + (share * merge.past - (1 - share) * merge.new) * merge.update
