"""The softmax runs over the task's own classes or over all seen, as the two formulas say."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lorastream.methods.losses import cross_entropy

# Two known classes, two new ones. Labels 2 and 3 are the first and the second new class.
LOGITS = [[5.0, -1.0, 1.0, 0.0], [0.0, 9.0, 2.0, 3.0]]
BATCH: Any = SimpleNamespace(labels=torch.tensor([2, 3]))
TASK: Any = SimpleNamespace(first_class=2, n_classes_seen=4)


def test_over_the_tasks_own_classes() -> None:
    """Each image sees its own class one above the other: -log(e / (e + 1)) = log(1 + 1/e)."""
    loss = cross_entropy(torch.tensor(LOGITS), BATCH, TASK, "current_classes")
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_over_all_classes_seen() -> None:
    def one(logits: list[float], label: int) -> float:
        return math.log(sum(map(math.exp, logits))) - logits[label]

    loss = cross_entropy(torch.tensor(LOGITS), BATCH, TASK, "seen_classes")
    assert loss.item() == pytest.approx((one(LOGITS[0], 2) + one(LOGITS[1], 3)) / 2)


def test_at_the_first_task_they_are_the_same() -> None:
    batch: Any = SimpleNamespace(labels=torch.tensor([0, 3]))
    task: Any = SimpleNamespace(first_class=0, n_classes_seen=4)
    losses = [cross_entropy(torch.tensor(LOGITS), batch, task, s) for s in ("current_classes", "seen_classes")]
    assert losses[0] == losses[1]


def test_old_columns_get_no_gradient_from_the_tasks_own_softmax() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    cross_entropy(logits, BATCH, TASK, "current_classes").backward()
    assert logits.grad is not None
    assert not logits.grad[:, :2].any()
    assert logits.grad[:, 2:].all()


def test_of_the_newest_logits_alone_it_is_the_same() -> None:
    """As a head gives them that is asked for the newest task's only."""
    newest = cross_entropy(torch.tensor(LOGITS)[:, 2:], BATCH, TASK, "current_classes")
    assert newest == cross_entropy(torch.tensor(LOGITS), BATCH, TASK, "current_classes")


def test_it_is_computed_in_float32_whatever_the_logits() -> None:
    exact = cross_entropy(torch.tensor(LOGITS), BATCH, TASK, "seen_classes")
    half = cross_entropy(torch.tensor(LOGITS, dtype=torch.bfloat16), BATCH, TASK, "seen_classes")
    assert half.dtype == torch.float32
    assert half == exact  # these logits are exact in bfloat16
