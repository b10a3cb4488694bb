"""A linear head grows without touching what it has: old rows stay bit-identical, new ones are drawn as published."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorastream.heads import LinearHead

CPU = torch.device("cpu")


def _head(*sizes: int, width: int = 6, seed: int = 0) -> LinearHead:
    head, generator = LinearHead(width), torch.Generator().manual_seed(seed)
    for size in sizes:
        head.grow(size, generator=generator, device=CPU)
    return head


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 5))
def test_growth_leaves_old_rows_and_old_logits_bit_identical(sizes: list[int], new: int) -> None:
    head = _head(*sizes)
    features = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    tensors, logits = head.tensors(), head(features)
    head.grow(new, generator=torch.Generator().manual_seed(2), device=CPU)
    known = sum(sizes)
    assert head.n_classes == known + new
    assert head(features).shape == (3, known + new)
    assert torch.equal(head(features)[:, :known], logits)
    assert all(torch.equal(head.tensors()[name][:known], tensor) for name, tensor in tensors.items())


def test_the_logits_of_later_tasks_are_those_columns_of_all() -> None:
    head = _head(2, 1, 3)
    features = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    for since in (0, 2, 3):
        assert torch.equal(head(features, since=since), head(features)[:, since:])


def test_new_rows_are_drawn_as_the_released_code_does() -> None:
    head = _head(300, width=768)
    weight, bias = head.weights[0], head.biases[0]
    assert weight.abs().max().item() == pytest.approx(0.0625, rel=1e-3)  # √3/√768, spec section 1.2
    assert weight.std().item() == pytest.approx(0.0625 / math.sqrt(3), rel=0.01)
    assert not bias.any()


def test_logits_by_hand() -> None:
    """Rows [1, 2] and [0, -1], biases 0.5 and 3: the feature [2, 1] gives [4.5, 2]."""
    head = LinearHead(2)
    head.load_tensors({"weight": torch.tensor([[1.0, 2], [0, -1]]), "bias": torch.tensor([0.5, 3])}, [1, 1])
    assert head(torch.tensor([[2.0, 1]])).tolist() == [[4.5, 2.0]]


def test_rows_of_another_width_take_the_place_of_the_newest_and_later_ones_have_it_too() -> None:
    head, rows = _head(2), torch.arange(18.0, dtype=torch.float64).view(2, 9)
    head.set_newest(rows)
    head.grow(1, generator=torch.Generator().manual_seed(1), device=CPU)
    weight = head.tensors()["weight"]
    assert (weight.shape, weight.dtype, head.width) == ((3, 9), torch.float32, 9)
    assert torch.equal(weight[:2], rows.float())
    loaded = LinearHead(6)
    loaded.load_tensors(head.tensors(), [2, 1])
    assert loaded.width == loaded.empty().width == 9


@pytest.mark.parametrize(("newest_only", "expected"), [(True, [False, False, True]), (False, [True, True, True])])
def test_the_newest_rows_learn_or_all(newest_only: bool, expected: list[bool]) -> None:
    head = _head(2, 1, 3)
    for _ in range(2):  # whatever learnt before
        head.learn(newest_only=newest_only)
        assert [weight.requires_grad for weight in head.weights] == expected
        assert [bias.requires_grad for bias in head.biases] == expected
        loss = head(torch.ones(1, 6)).sum()
        loss.backward()
        assert [weight.grad is not None for weight in head.weights] == expected
        head.zero_grad()


def test_restart_draws_all_rows_anew_in_place() -> None:
    head = _head(2, 3)
    before, names = head.tensors(), [id(p) for p in head.parameters()]
    with torch.no_grad():
        head.biases[1].fill_(1.0)
    head.restart(generator=torch.Generator().manual_seed(9))
    assert not (head.tensors()["weight"] == before["weight"]).any()
    assert not head.tensors()["bias"].any()
    assert [id(p) for p in head.parameters()] == names


def test_what_was_saved_is_loaded_as_a_copy_with_the_rows_of_each_task_apart() -> None:
    head, features = _head(2, 1, 3), torch.randn(4, 6)
    tensors = head.tensors()
    loaded = LinearHead(6)
    loaded.load_tensors(tensors, [2, 1, 3])
    assert torch.equal(loaded(features), head(features))
    assert [len(weight) for weight in loaded.weights] == [2, 1, 3]
    tensors["weight"].zero_()
    assert torch.equal(loaded(features), head(features))


def test_before_the_first_task_there_is_nothing_to_save() -> None:
    assert LinearHead(6).tensors() == {}


def test_a_forgotten_row_is_gone_and_the_others_stay() -> None:
    head = LinearHead(4)
    for task, size in enumerate((2, 1, 2)):
        head.grow(size, generator=torch.Generator().manual_seed(task), device=torch.device("cpu"))
    head.learn(newest_only=True)
    before = head.tensors()["weight"]
    head.forget(2)
    head.forget(0)
    assert [len(bias) for bias in head.biases] == [1, 0, 2]
    assert torch.equal(head.tensors()["weight"], before[[1, 3, 4]])
    assert [weight.requires_grad for weight in head.weights] == [False, False, True]
    assert head(torch.ones(3, 4)).shape == (3, 3)
    again = LinearHead(4)
    again.load_tensors(head.tensors(), [1, 0, 2])
    assert torch.equal(again(torch.ones(1, 4)), head(torch.ones(1, 4)))


def test_a_row_takes_the_place_of_another() -> None:
    head = LinearHead(4)
    for task in range(2):
        head.grow(2, generator=torch.Generator().manual_seed(task), device=torch.device("cpu"))
    before = head.tensors()["weight"]
    head.copy_row(3, 0)
    assert torch.equal(head.tensors()["weight"], before[[3, 1, 2, 3]])
