"""A pool of prompts: the nearest keys by hand, alone or in company."""

from __future__ import annotations

import torch

from lorastream.prompts import PromptPool

KEYS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
PROMPTS = torch.arange(12.0).view(3, 2, 2)


def test_the_nearest_keys_choose_and_their_cosines_add_up() -> None:
    pool = PromptPool(PROMPTS, KEYS, top_k=2)
    chosen = pool(torch.tensor([[4.0, 3.0], [-3.0, 4.0]]))
    assert chosen.tokens is not None
    assert torch.equal(chosen.tokens[0], torch.cat([PROMPTS[0], PROMPTS[1]]))
    assert torch.equal(chosen.tokens[1], torch.cat([PROMPTS[1], PROMPTS[2]]))
    torch.testing.assert_close(chosen.closeness, torch.tensor([0.8 + 0.6, 0.8 + 0.6]))
    assert chosen.read == "prompts"
    assert not chosen.prefixes


def test_an_image_chooses_alone() -> None:
    pool = PromptPool.drawn(
        10, 3, top_k=4, half_width=1.0, generator=torch.Generator().manual_seed(0), like=torch.empty(0, 6)
    )
    queries = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    together = pool(queries).tokens
    alone = torch.cat([pool(query[None]).tokens for query in queries])
    assert together is not None
    assert torch.equal(alone, together)


def test_keys_learn_from_their_cosines_and_prompts_from_what_they_do() -> None:
    pool = PromptPool(PROMPTS.clone(), KEYS.clone(), top_k=1)
    chosen = pool(torch.tensor([[4.0, 3.0]]))
    chosen.closeness.sum().backward()
    assert pool.prompts.grad is None
    assert pool.keys.grad is not None
    torch.testing.assert_close(pool.keys.grad, torch.tensor([[0.0, 0.6], [0.0, 0.0], [0.0, 0.0]]))


def test_numbers_begin_within_the_range_that_was_asked_for() -> None:
    pool = PromptPool.drawn(
        50, 3, top_k=1, half_width=0.25, generator=torch.Generator().manual_seed(0), like=torch.empty(0, 6)
    )
    for numbers in (pool.prompts, pool.keys):
        assert 0.24 < numbers.abs().max() <= 0.25
        assert numbers.min() < 0 < numbers.max()
