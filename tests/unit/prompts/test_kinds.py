"""Prompts are made again from their tensors, whichever they are, and choose the same to the bit."""

from __future__ import annotations

import pytest
import torch

from lorastream.errors import CheckpointError
from lorastream.prompts import PromptComponents, PromptPool, Prompts, TaskPrompts, load_prompts

LIKE = torch.empty(0, 6)


def _pool() -> Prompts:
    generator = torch.Generator().manual_seed(0)
    return PromptPool.drawn(4, 2, top_k=3, half_width=1.0, generator=generator, like=LIKE, read="class_token")


def _by_task() -> Prompts:
    generator = torch.Generator().manual_seed(0)
    made = TaskPrompts.drawn(2, shared_blocks=(0,), task_blocks=(1,), half_width=1.0, generator=generator, like=LIKE)
    for _ in range(3):
        made.grow(2, half_width=1.0, go_on=False, generator=generator)
    return made


def _components() -> Prompts:
    made = PromptComponents((0, 1), LIKE)
    for n in (2, 3):
        made.grow(n, 2, generator=torch.Generator().manual_seed(n))
    return made


@pytest.mark.parametrize("make", [_pool, _by_task, _components])
def test_prompts_made_again_choose_the_same(make: object) -> None:
    assert callable(make)
    made = make()
    made.settle()
    again = load_prompts(made.tensors())
    assert type(again) is type(made)
    assert not any(p.requires_grad for p in again.parameters())
    queries = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    one, other = made(queries), again(queries)
    assert one.read == other.read
    assert one.prefixes.keys() == other.prefixes.keys()
    assert all(torch.equal(prefix, other.prefixes[block]) for block, prefix in one.prefixes.items())
    assert (one.tokens is None) is (other.tokens is None)
    assert one.tokens is None or other.tokens is None or torch.equal(one.tokens, other.tokens)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"(?s)stored prompts.*pool or by_task or components or routed.*wave"):
        load_prompts({"wave/keys": torch.zeros(1)})
