"""Heads on random features that have taken in what they are given, task by task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor


@pytest.fixture
def cloud() -> Callable[..., Tensor]:
    """Return what draws `[n, width]` features of a class: around a middle of its own, the same every time."""

    def drawn(label: int, n: int = 20, width: int = 6) -> Tensor:
        generator = torch.Generator().manual_seed(label)
        return torch.randn(n, width, generator=generator) + 2 * torch.randn(width, generator=generator)

    return drawn


@pytest.fixture
def taken_in() -> Callable[..., Any]:
    """Return what lets a new head take in tasks, each the features of its classes."""

    def taught(head: Any, *tasks: list[Tensor], n_features: int = 30) -> Any:
        generator = torch.Generator().manual_seed(0)
        for task in tasks:
            first = head.n_classes
            head.grow(len(task), generator=generator, device=torch.device("cpu"))
            if not first:
                head.project(n_features, generator=generator)
            head.take_in(first, task)
        return head

    return taught
