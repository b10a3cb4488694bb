"""Stacks in another type: converted once, and never out of date."""

from __future__ import annotations

import torch

from lorastream.adapters.converted import Converted, product_type


def _stacks(ranks: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(4, ranks), torch.randn(ranks, 3)


def test_their_own_type_is_given_back_as_it_is() -> None:
    up, down = _stacks()
    found = Converted().of(torch.float32, up, down, live=2)
    assert found[0] is up
    assert found[1] is down


def test_only_live_columns_are_converted_again() -> None:
    up, down = _stacks()
    converted = Converted()
    first = converted.of(torch.bfloat16, up, down, live=2)
    kept = [t.clone() for t in first]
    up += 1
    down += 1
    second = converted.of(torch.bfloat16, up, down, live=2)
    assert [t.data_ptr() for t in second] == [t.data_ptr() for t in first]
    assert torch.equal(second[0][:, :-2], kept[0][:, :-2])
    assert torch.equal(second[1][:-2], kept[1][:-2])
    assert torch.equal(second[0][:, -2:], up[:, -2:].bfloat16())
    assert torch.equal(second[1][-2:], down[-2:].bfloat16())


def test_without_live_columns_nothing_is_written() -> None:
    up, down = _stacks()
    converted = Converted()
    kept = [t.clone() for t in converted.of(torch.bfloat16, up, down, live=0)]
    up += 1
    down += 1
    assert all(map(torch.equal, converted.of(torch.bfloat16, up, down, live=0), kept))


def test_other_stacks_and_other_types_are_noticed() -> None:
    converted = Converted()
    for ranks, kind in ((5, torch.bfloat16), (5, torch.float16), (5, torch.bfloat16), (6, torch.bfloat16)):
        up, down = _stacks(ranks)
        found = converted.of(kind, up, down, live=1)
        assert torch.equal(found[0], up.to(kind))
        assert torch.equal(found[1], down.to(kind))


def test_float16_products_are_taken_in_the_factors_own_type() -> None:
    assert product_type(torch.bfloat16, torch.float32) == torch.bfloat16
    assert product_type(torch.float16, torch.float32) == torch.float32
    assert product_type(torch.float32, torch.float64) == torch.float64
