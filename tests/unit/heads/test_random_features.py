"""What the two heads on random features have in common, whatever they solve."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lorastream.errors import DataError
from lorastream.heads import RidgeHead, TruncatedHead
from lorastream.heads.kinds import load_head

KINDS = pytest.mark.parametrize("kind", [RidgeHead, TruncatedHead])
Kind = type[RidgeHead | TruncatedHead]
CPU = torch.device("cpu")


@KINDS
def test_old_answers_stay_when_there_is_room_for_more(kind: Kind, cloud: Any, taken_in: Any) -> None:
    head = taken_in(kind(6), [cloud(0), cloud(1)])
    rows = cloud(5)
    before = head(rows)
    head.grow(2, generator=torch.Generator(), device=CPU)
    assert torch.equal(head(rows)[:, :2], before)
    assert torch.equal(head(rows, since=2), head(rows)[:, 2:])


@KINDS
def test_saved_loaded_and_a_class_forgotten(kind: Kind, cloud: Any, taken_in: Any) -> None:
    head = taken_in(kind(6), [cloud(0), cloud(1)], [cloud(2)])
    rows = cloud(5)
    loaded = load_head(head.tensors(), [2, 1])
    assert isinstance(loaded, kind)
    assert torch.equal(loaded(rows), head(rows))
    assert all(torch.equal(tensor, head.tensors()[name]) for name, tensor in loaded.tensors().items())
    for one in (head, loaded):
        one.forget(1)
        one.grow(1, generator=torch.Generator(), device=CPU)
        one.take_in(2, [cloud(7)])
    assert head(rows).shape == (20, 3)
    assert torch.equal(loaded(rows), head(rows))
    assert head.empty().n_classes == 0


@KINDS
def test_restarted_it_is_as_new(kind: Kind, cloud: Any, taken_in: Any) -> None:
    head, other = (taken_in(kind(6), [cloud(0), cloud(label)]) for label in (1, 2))
    for one in (head, other):
        one.restart(generator=torch.Generator())
        assert not one(cloud(5)).any()
        one.take_in(0, [cloud(3), cloud(4)])
    assert torch.equal(head.cross, other.cross)
    torch.testing.assert_close(head(cloud(5)), other(cloud(5)), atol=1e-3, rtol=0)


@KINDS
def test_a_warm_head_learns_in_its_place_until_images_are_taken_in(kind: Kind, cloud: Any) -> None:
    head, generator = kind(6), torch.Generator().manual_seed(0)
    head.grow(3, generator=generator, device=CPU)
    head.project(10, generator=generator)
    assert not list(head.parameters())
    head.begin(generator=generator)
    head(cloud(0)).sum().backward()
    assert [p.grad is not None for p in head.parameters()] == [True]
    head.take_in(0, [cloud(label) for label in range(3)])
    assert not list(head.parameters())


@KINDS
def test_features_that_are_not_finite_are_refused_with_their_class(kind: Kind, cloud: Any, taken_in: Any) -> None:
    with pytest.raises(DataError, match=r"(?s)class 1.*finite"):
        taken_in(kind(6), [cloud(0), torch.full((2, 6), float("nan"))])
