"""Optimisers and the learning rates over a task."""

from __future__ import annotations

import math
from typing import Any

import torch

from lorastream.training.settings import TrainingSettings

LAST_QUARTER_COSINE = 99 * math.pi / 200


def build_optimiser(groups: list[dict[str, Any]], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Make the optimiser of one task; momenta start at zero."""
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)
    made = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return made(groups, weight_decay=settings.weight_decay)


def lr_factor(settings: TrainingSettings, epoch: float) -> float:
    """Return what the learning rates are multiplied by at a point of a task.

    Args:
        settings: which schedule.
        epoch: epochs done so far, with the fraction of the one that is under way.

    Returns:
        A factor in [0, 1]. All schedules but the warm-up change at whole epochs, as in the released codes.
    """
    if epoch < settings.warmup_epochs:
        return min(1.0, (epoch + 1e-3) / settings.warmup_epochs)
    whole, last = int(epoch), max(settings.epochs - 1, 1)
    if settings.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * whole / settings.epochs))
    if settings.schedule == "multistep":
        return settings.decay_factor ** sum(whole >= milestone for milestone in settings.milestones)
    if settings.schedule == "quarter_cosine":
        # InfLoRA at e08b00e, `utils/schedulers.py`: the counter lags one epoch, so that the first two run at full rate.
        return math.cos(LAST_QUARTER_COSINE * max(whole - 1, 0) / last)
    return 1.0


def set_lr(optimiser: torch.optim.Optimizer, factor: float) -> float:
    """Multiply every group's initial learning rate by a factor; return the first group's."""
    for group in optimiser.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = group["initial_lr"] * factor
    return optimiser.param_groups[0]["lr"]
