"""One update for all tasks, which goes on where it ended; the softmax decides whether old head rows move."""

from __future__ import annotations

from typing import Any

import pytest
import torch


def test_there_is_one_update_whatever_the_number_of_tasks(trial: Any) -> None:
    taught = trial("sequential_lora", rank=3).teach(3)
    assert taught.model.adapters.ranks == [3]
    assert len(taught.model.adapters) == 4


def test_a_task_begins_with_the_factors_that_the_last_one_left(trial: Any) -> None:
    taught = trial("sequential_lora", rank=2).teach(1)
    ended = [t.clone() for adapter in taught.model.adapters for pair in adapter.factors() for t in pair]
    taught.begin(1)
    begun = [t for adapter in taught.model.adapters for t in (adapter.up, adapter.down)]
    assert all(torch.equal(one, other) for one, other in zip(ended, begun, strict=True))


def test_without_a_scale_an_update_is_up_times_down(trial: Any) -> None:
    """There is no α/r: W = W0 + U D."""
    taught = trial("sequential_lora", rank=2).teach(2)
    for adapter in taught.model.adapters:
        ((up, down),) = adapter.factors()
        torch.testing.assert_close(adapter.delta(), up @ down)
        assert adapter.delta().any()


@pytest.mark.parametrize(("softmax", "moves"), [("seen_classes", True), ("current_classes", False)])
def test_the_softmax_decides_whether_old_rows_move(trial: Any, softmax: str, moves: bool) -> None:
    taught = trial("sequential_lora", rank=2, softmax=softmax).teach(1)
    before = taught.model.head.tensors()
    taught.end(taught.begin(1))
    after = taught.model.head.tensors()
    assert all(torch.equal(after[name][:2], tensor) is not moves for name, tensor in before.items())


def test_the_targets_are_those_asked_for(trial: Any) -> None:
    taught = trial("sequential_lora", rank=1, targets=["key", "mlp_out"]).teach(1)
    assert [name for name, _ in taught.model.adapters.items()] == [
        "blocks.0.attn.qkv/key",
        "blocks.1.attn.qkv/key",
        "blocks.0.mlp.fc2/mlp_out",
        "blocks.1.mlp.fc2/mlp_out",
    ]
