"""Randomness comes from the seed and the names alone, and the class order is that of the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorastream.randomness import Randomness, class_order


@pytest.mark.parametrize(
    ("seed", "n_classes", "begins"),
    [  # spec section 1.4, verified there against the authors' logs
        (1993, 200, [168, 136, 51, 9, 183, 101, 171, 99, 42, 159, 191, 70]),
        (1995, 200, [146, 198, 169, 126, 142, 183, 108, 86, 79, 35, 112, 29]),
        (1994, 100, [72, 6, 33, 96, 60, 94, 29, 40, 45, 66, 51, 8]),
        (1993, 100, [68, 56, 78, 8, 23, 84, 90, 65, 74, 76, 40, 89]),
        (1996, 200, [92, 182, 15, 79, 26, 173, 109, 188]),
    ],
)
def test_class_order_is_that_of_the_published_code(seed: int, n_classes: int, begins: list[int]) -> None:
    assert class_order(seed, n_classes)[: len(begins)] == begins


@given(seed=st.integers(0, 2**32 - 1), n_classes=st.integers(1, 60))
def test_class_order_is_a_permutation(seed: int, n_classes: int) -> None:
    assert sorted(class_order(seed, n_classes)) == list(range(n_classes))


def test_class_order_leaves_numpys_global_state_alone() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 (the global state is what is looked at)
    class_order(1993, 100)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@given(seed=st.integers(0, 2**32 - 1), names=st.lists(st.integers() | st.text(), max_size=4))
def test_a_number_belongs_to_its_names_and_not_to_what_was_drawn_before(seed: int, names: list[int | str]) -> None:
    first = Randomness(seed).number(*names)
    source = Randomness(seed)
    source.number("something else")
    source.numpy(*names).random(5)
    assert source.number(*names) == first
    assert 0 <= first < 2**63


def test_numbers_are_the_same_on_every_machine() -> None:
    # SHA-256 of "7/batches/0/1": its first eight bytes, little-endian, halved.
    assert Randomness(7).number("batches", 0, 1) == 0x43CF3C5616B5409


def test_other_names_and_other_seeds_give_other_numbers() -> None:
    drawn = {
        Randomness(seed).number(name, task, epoch)
        for seed in range(3)
        for name in ("batches", "augmentation")
        for task in range(5)
        for epoch in range(5)
    }
    assert len(drawn) == 3 * 2 * 5 * 5


def test_generators_repeat_and_leave_torchs_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    first = torch.rand(4, generator=Randomness(0).torch("x"))
    assert torch.equal(first, torch.rand(4, generator=Randomness(0).torch("x")))
    assert not torch.equal(first, torch.rand(4, generator=Randomness(1).torch("x")))
    assert np.array_equal(Randomness(0).numpy("x").random(4), Randomness(0).numpy("x").random(4))
    assert torch.equal(before, torch.random.get_rng_state())
