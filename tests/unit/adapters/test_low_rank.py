"""An adapter's updates lie side by side; growing changes no output, freezing changes nothing, and past ones stay."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lorastream.adapters import Adapter
from lorastream.errors import AdapterError


def _adapter(in_features: int = 6, out_features: int = 4, dtype: torch.dtype = torch.float64) -> Adapter:
    return Adapter(in_features, out_features, torch.empty(0, dtype=dtype))


def _teach(adapter: Adapter, generator: torch.Generator, rank: int = 2) -> Adapter:
    """Append an update whose factors are as if they had been learnt, and freeze it."""
    adapter.grow(rank, generator=generator, up_std=1.0)
    adapter.freeze()
    return adapter


def test_a_new_update_begins_at_zero_with_a_uniform_down(generator: torch.Generator) -> None:
    adapter = _adapter(400, 30)
    adapter.grow(20, generator=generator)
    bound = 1 / math.sqrt(400)
    assert adapter.live
    assert (adapter.ranks, adapter.total_rank) == ([20], 20)
    assert torch.equal(adapter.delta(), torch.zeros(30, 400, dtype=torch.float64))
    assert adapter.down is not None
    assert 0.99 * bound < adapter.down.abs().max() <= bound
    assert adapter.down.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_up_may_begin_as_a_gaussian(generator: torch.Generator) -> None:
    adapter = _adapter(50, 200)
    adapter.grow(10, generator=generator, up_std=0.3)
    assert adapter.up is not None
    assert adapter.up.std().item() == pytest.approx(0.3, rel=0.05)


def test_the_numbers_follow_from_the_generator_alone() -> None:
    drawn = []
    for dtype in (torch.float32, torch.float64):
        adapter = _adapter(dtype=dtype)
        adapter.grow(3, generator=torch.Generator().manual_seed(1))
        assert adapter.down is not None
        drawn.append(adapter.down.detach().float())
    assert torch.equal(*drawn)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 100))
def test_delta_is_the_sum_of_the_scaled_products(ranks: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    adapter = _adapter()
    for rank in ranks:
        _teach(adapter, generator, rank)
    adapter.scale = torch.randn(sum(ranks), generator=generator, dtype=torch.float64)
    pairs = list(adapter.factors())
    scales = adapter.scale.split(ranks)
    expected = sum(up @ torch.diag(s) @ down for (up, down), s in zip(pairs, scales, strict=True))
    assert [down.shape[0] for _, down in pairs] == ranks
    torch.testing.assert_close(adapter.delta(), expected)


def test_compose_adds_to_the_weight(generator: torch.Generator) -> None:
    adapter = _teach(_adapter(), generator)
    weight = torch.randn(4, 6, dtype=torch.float64)
    found = torch.empty_like(weight)
    adapter.compose(weight, torch.zeros(2, dtype=torch.float64), out=found)
    torch.testing.assert_close(found, weight)
    adapter.compose(weight, adapter.scale, out=found)
    torch.testing.assert_close(found - weight, adapter.delta())


def test_freezing_makes_the_live_update_a_constant(generator: torch.Generator, learning: Any) -> None:
    adapter = _teach(_adapter(), generator)
    adapter.grow(1, generator=generator, up_std=1.0)
    adapter.scaling = learning(torch.tensor([0.5, 2.0], dtype=torch.float64), lambda _, values: values**2)
    before = adapter.delta()
    adapter.freeze()
    assert not adapter.live
    assert adapter.scaling is None
    assert not list(adapter.parameters())
    assert adapter.scale.tolist() == [0.25, 0.25, 4.0]
    assert torch.equal(adapter.delta(), before)


def test_factors_of_a_live_update_are_its_newest(generator: torch.Generator) -> None:
    adapter = _adapter()
    adapter.grow(2, generator=generator)
    with torch.no_grad():
        adapter.up.fill_(3.0)  # pyright: ignore[reportOptionalMemberAccess]
    (up, down), *rest = adapter.factors()
    assert not rest
    assert not up.requires_grad
    assert torch.equal(up, torch.full((4, 2), 3.0, dtype=torch.float64))
    assert torch.equal(down, adapter.down)  # pyright: ignore[reportArgumentType]


def test_thawing_lets_the_newest_learn_again_and_no_other(generator: torch.Generator) -> None:
    adapter = _teach(_teach(_adapter(), generator, 1), generator, 2)
    first = [factor.clone() for factor in next(adapter.factors())]
    before = adapter.delta()
    adapter.thaw()
    assert torch.equal(adapter.delta(), before)
    assert {tuple(p.shape) for p in adapter.parameters()} == {(2, 6), (4, 2)}
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(1.0)
    assert not torch.equal(adapter.delta(), before)
    assert all(torch.equal(old, new) for old, new in zip(first, next(adapter.factors()), strict=True))


def test_clear_drops_everything(generator: torch.Generator) -> None:
    adapter = _teach(_adapter(), generator)
    adapter.grow(1, generator=generator)
    adapter.clear()
    assert (adapter.ranks, adapter.live, list(adapter.factors())) == ([], False, [])
    assert torch.equal(adapter.delta(), torch.zeros(4, 6, dtype=torch.float64))
    adapter.grow(1, generator=generator)
    assert adapter.ranks == [1]


def test_what_is_loaded_is_there_and_a_copy(generator: torch.Generator) -> None:
    taught = _teach(_teach(_adapter(), generator, 1), generator, 2)
    taught.scale = torch.tensor([0.1, 0.2, 0.2], dtype=torch.float64)
    up, down, scale = (t.clone() for t in (taught.up_stack, taught.down_stack, taught.scale))
    adapter = _adapter()
    adapter.grow(2, generator=generator)
    adapter.load(up, down, scale, [1, 2])
    expected = taught.delta()
    up.zero_()
    assert (adapter.ranks, adapter.live) == ([1, 2], False)
    assert torch.equal(adapter.delta(), expected)


@pytest.mark.parametrize(
    ("up", "down", "scale"), [((5, 2), (2, 6), (2,)), ((4, 2), (2, 7), (2,)), ((4, 2), (2, 6), (3,))]
)
def test_stored_updates_of_another_shape_are_refused(
    up: tuple[int, ...], down: tuple[int, ...], scale: tuple[int, ...], generator: torch.Generator
) -> None:
    adapter = _teach(_adapter(), generator)
    before = adapter.delta()
    with pytest.raises(AdapterError, match="shapes"):
        adapter.load(torch.zeros(up), torch.zeros(down), torch.zeros(scale), [2])
    assert torch.equal(adapter.delta(), before)


@pytest.mark.parametrize("rank", [0, -1, 5])
def test_a_rank_out_of_range_is_refused_with_the_largest(rank: int, generator: torch.Generator) -> None:
    adapter = _adapter()
    with pytest.raises(AdapterError, match=f"(?s)1 to 4.*got: +{rank}.*at most 4"):
        adapter.grow(rank, generator=generator)
    assert not adapter.ranks


def test_the_largest_rank_is_taken(generator: torch.Generator) -> None:
    adapter = _adapter()
    adapter.grow(4, generator=generator)
    assert adapter.ranks == [4]


def test_growing_while_an_update_is_live_is_refused(generator: torch.Generator) -> None:
    adapter = _adapter()
    adapter.grow(1, generator=generator)
    with pytest.raises(AdapterError, match="freeze"):
        adapter.grow(1, generator=generator)


@pytest.mark.parametrize("grown", [False, True])
def test_thawing_nothing_or_what_is_live_is_refused(grown: bool, generator: torch.Generator) -> None:
    adapter = _adapter()
    if grown:
        adapter.grow(1, generator=generator)
    with pytest.raises(AdapterError, match="grow an update"):
        adapter.thaw()


def test_the_scale_is_one_unless_something_says_otherwise(generator: torch.Generator, learning: Any) -> None:
    adapter = _teach(_adapter(), generator, 2)
    assert adapter.column_scale().tolist() == [1.0, 1.0]
    adapter.scaling = learning(torch.tensor([3.0]), lambda _, values: values)
    scale: Tensor = adapter.column_scale()
    assert scale.tolist() == [3.0, 3.0]
    assert scale.requires_grad
