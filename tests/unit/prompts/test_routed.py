"""Prefixes by task, found again by a classifier: by hand, mixed while they are learnt, without a class."""

from __future__ import annotations

import torch
from torch import Tensor

from lorastream.prompts import RoutedPrompts, load_prompts

QUERIES = torch.tensor([[3.0, 1.0], [1.0, 2.0], [-4.0, 0.5]])


def _grown(*, share: float = 0.0, settled: int = 2, tasks: int = 2) -> RoutedPrompts:
    generator = torch.Generator().manual_seed(0)
    made = RoutedPrompts((0, 2), torch.empty(0, 2))
    for task in range(tasks):
        made.grow(3, share=share, half_width=1.0, go_on=False, generator=generator)
        if task < settled:
            made.settle()
    return made


def _routed() -> RoutedPrompts:
    """Return two tasks, of which the first brought classes 0 and 1 and the second class 2."""
    made = _grown(tasks=1)
    rows, bias = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), torch.tensor([0.0, 0.0, 1.0])
    made.route_by(rows[:2], bias[:2], {"kind/mean": rows[:2]})
    made.grow(3, share=0.0, half_width=1.0, go_on=False, generator=torch.Generator().manual_seed(1))
    made.settle()
    made.route_by(rows, bias, {"kind/mean": rows})
    return made


def _is_of(found: dict[int, Tensor], image: int, prefixes: Tensor) -> bool:
    return all(torch.equal(found[block][image], own) for block, own in zip((0, 2), prefixes, strict=True))


def test_the_likeliest_class_says_whose_prefixes_enter() -> None:
    made = _routed()
    assert made.tasks.tolist() == [0, 0, 1]
    found = dict(made(QUERIES).prefixes)
    for image, task in enumerate((0, 0, 1)):  # logits (3, 1, -2), (1, 2, 0), (-4, 0.5, 5)
        assert _is_of(found, image, made.prompts[task])


def test_before_anything_is_known_the_newest_answer() -> None:
    made = _grown(tasks=1)
    assert _is_of(dict(made(QUERIES).prefixes), 2, made.prompts[0])


def test_a_task_under_way_does_not_answer_yet() -> None:
    made = _routed()
    made.grow(3, share=0.0, half_width=1.0, go_on=True, generator=torch.Generator())
    with torch.no_grad():
        made.prompts[2].zero_()
    assert not any((own == 0).all() for own in made(QUERIES).prefixes.values())
    assert all((own == 0).all() for own in made.of_newest(QUERIES).prefixes.values())
    assert {name for name, p in made.named_parameters() if p.requires_grad} == {"prompts.2"}


def test_prefixes_are_learnt_with_a_share_of_those_before_and_keep_it() -> None:
    made = _grown(share=0.25, settled=2, tasks=3)
    first, second, own = (prefixes.detach().clone() for prefixes in made.prompts)
    mixed = 0.75 * own + 0.25 * (first + second) / 2
    torch.testing.assert_close(made.of_newest(QUERIES).prefixes[2][0], mixed[1])
    made.settle()
    torch.testing.assert_close(made.prompts[2].detach(), mixed)
    assert torch.equal(made.of_newest(QUERIES).prefixes[2][0], made.prompts[2][1])
    assert torch.equal(made.prompts[1], second)


def test_the_first_task_has_nothing_to_take_a_share_of() -> None:
    made = _grown(share=0.25, settled=0, tasks=1)
    assert torch.equal(made.of_newest(QUERIES).prefixes[0][0], made.prompts[0][0])


def test_a_class_goes_with_its_row_and_what_describes_it() -> None:
    made = _routed()
    before = made.tensors()
    made.forget(1)
    assert made.tasks.tolist() == [0, 1]
    assert torch.equal(made.weight, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert torch.equal(made.described["kind/mean"], made.weight)
    assert len(made.bias) == len(made.prompts) == 2
    assert len(before["routed/weight"]) == 3, "what was handed out for saving does not change"


def test_it_is_made_again_from_its_tensors() -> None:
    made = _routed()
    again = load_prompts(made.tensors())
    assert isinstance(again, RoutedPrompts)
    assert again.tensors().keys() == made.tensors().keys()
    assert all(torch.equal(own, again.tensors()[name]) for name, own in made.tensors().items())
    assert torch.equal(again(QUERIES).prefixes[2], made(QUERIES).prefixes[2])
