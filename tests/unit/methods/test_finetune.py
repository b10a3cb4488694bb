"""All weights learn while a task lasts, none between tasks."""

from __future__ import annotations

from typing import Any

import pytest
import torch


def test_every_weight_of_the_backbone_learns_during_a_task_and_none_between(trial: Any) -> None:
    taught = trial("finetune")
    before = {name: p.clone() for name, p in taught.model.backbone.named_parameters()}
    task = taught.begin(0)
    assert all(p.requires_grad for p in taught.model.parameters())
    taught.end(task)
    after = dict(taught.model.backbone.named_parameters())
    assert not any(p.requires_grad for p in after.values())
    assert not any(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert taught.model.tensors().keys() == {"head", "backbone"}


@pytest.mark.parametrize(("softmax", "moves"), [("seen_classes", True), ("current_classes", False)])
def test_the_softmax_decides_whether_old_rows_move(trial: Any, softmax: str, moves: bool) -> None:
    taught = trial("finetune", softmax=softmax).teach(1)
    before = taught.model.head.tensors()
    taught.end(taught.begin(1))
    assert torch.equal(taught.model.head.tensors()["weight"][:2], before["weight"]) is not moves


def test_it_promises_nothing(trial: Any) -> None:
    traits = trial("finetune").method.traits
    assert not traits.freezes_backbone
    assert not traits.keeps_past_parameters_fixed
