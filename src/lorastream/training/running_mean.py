"""The running mean of what learns: a task may end with it instead of with where its last step happened to lead.

Source: Polyak and Juditsky (1992); for adapters MoAL (CVPR 2025) and LAE (ICCV 2023). Formula, for the weights θ_n
after step n and decay β:

    θ̄_n = (1 - β) sum_{i <= n} β^(n - i) θ_i / (1 - β^n)

The divisor leaves the start out, as Adam's does, so a task of few steps is not held back: the mean is of what was
learnt. (MoAL's starts from the weights before, and so slows them down; `backbone_rate` does that by name.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_WEIGHT = "mean/weight"


def take_in(carried: dict[str, Tensor], parameters: Sequence[Tensor], decay: float) -> None:
    """Let the mean take in what a step led to.

    Args:
        carried: where the mean is kept, by name; empty before the first step.
        parameters: what learns, always in the same order.
        decay: β, above 0 and below 1.
    """
    with torch.no_grad():
        for name, tensor in [*_named(parameters), (_WEIGHT, parameters[0].new_ones((), dtype=torch.float64))]:
            mean = carried.setdefault(name, torch.zeros_like(tensor))
            mean.mul_(decay).add_(tensor, alpha=1 - decay)


def settle_on_mean(carried: dict[str, Tensor], parameters: Sequence[Tensor]) -> None:
    """Give the parameters their mean; does nothing where no step was taken."""
    with torch.no_grad():
        for name, parameter in _named(parameters) if _WEIGHT in carried else []:
            parameter.copy_(carried[name] / carried[_WEIGHT].to(parameter.dtype))


def _named(parameters: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
    return [(f"mean/{number}", parameter) for number, parameter in enumerate(parameters)]
