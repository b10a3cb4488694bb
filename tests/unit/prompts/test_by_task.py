"""Prefixes by task: found by the key, the newest only once it is settled, beside what is shared."""

from __future__ import annotations

import torch

from lorastream.prompts import TaskPrompts

QUERY = torch.tensor([[3.0, 4.0], [4.0, -3.0]])


def _prompts(tasks: int, *, go_on: bool = False, settled: bool = True) -> TaskPrompts:
    generator = torch.Generator().manual_seed(0)
    made = TaskPrompts.drawn(
        2, shared_blocks=(0,), task_blocks=(1, 2), half_width=1.0, generator=generator, like=torch.empty(0, 2)
    )
    for _ in range(tasks):
        made.grow(3, half_width=1.0, go_on=go_on, generator=generator)
        if settled:
            made.settle()
    return made


def test_the_nearest_key_chooses() -> None:
    prompts = _prompts(2)
    with torch.no_grad():
        prompts.keys[0].copy_(torch.tensor([5.0, 0.0]))
        prompts.keys[1].copy_(torch.tensor([0.0, 0.1]))
    chosen = prompts(QUERY)
    assert set(chosen.prefixes) == {0, 1, 2}
    for image, task in ((0, 1), (1, 0)):
        assert torch.equal(chosen.prefixes[0][image], prompts.shared[0])
        assert torch.equal(chosen.prefixes[1][image], prompts.prompts[task][0])
        assert torch.equal(chosen.prefixes[2][image], prompts.prompts[task][1])
    torch.testing.assert_close(chosen.closeness, torch.tensor([0.8, 0.8]))


def test_the_task_under_way_takes_its_own_and_answers_do_not_know_it_yet() -> None:
    prompts = _prompts(1)
    prompts.grow(3, half_width=1.0, go_on=False, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        prompts.keys[0].copy_(-QUERY[0])
        prompts.keys[1].copy_(QUERY[0])
    assert torch.equal(prompts(QUERY[:1]).prefixes[1][0], prompts.prompts[0][0])
    own = prompts.of_newest(QUERY)
    assert torch.equal(own.prefixes[2][1], prompts.prompts[1][1])
    torch.testing.assert_close(own.closeness, torch.tensor([1.0, 0.0]))
    prompts.settle()
    assert torch.equal(prompts(QUERY[:1]).prefixes[1][0], prompts.prompts[1][0])


def test_the_newest_and_what_is_shared_learn_alone() -> None:
    prompts = _prompts(2, settled=False)
    learning = {name for name, p in prompts.named_parameters() if p.requires_grad}
    assert learning == {"shared", "prompts.1", "keys.1"}


def test_a_task_goes_on_where_the_last_one_ended() -> None:
    assert torch.equal(*_prompts(2, go_on=True).prompts)
    assert not torch.equal(*_prompts(2).prompts)
    assert not torch.equal(*_prompts(2, go_on=True).keys)


def test_nothing_need_be_shared() -> None:
    prompts = TaskPrompts.drawn(
        2, shared_blocks=(), task_blocks=(0,), half_width=1.0, generator=torch.Generator(), like=torch.empty(0, 2)
    )
    prompts.grow(3, half_width=1.0, go_on=True, generator=torch.Generator())
    assert prompts(QUERY).prefixes[0].shape == (2, 2, 3, 2)
