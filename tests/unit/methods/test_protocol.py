"""Hyper-parameters and learnt tensors are told apart by their names, so that saving a method is generic."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lorastream.errors import CheckpointError
from lorastream.methods.protocol import (
    SETTINGS,
    Method,
    Traits,
    hyper_parameters,
    learnt_parameters,
    learnt_state,
    load_learnt_state,
)


@dataclass(kw_only=True, config=SETTINGS)
class Counting:
    """A method with a hyper-parameter, two learnt tensors, and several by name."""

    rate: float = 0.5
    count_: Tensor | None = field(default=None, init=False)
    weight_: Tensor | None = field(default=None, init=False)
    name_: str = field(default="not a tensor", init=False)
    bases_: dict[str, Tensor] = field(default_factory=dict, init=False)

    @property
    def traits(self) -> Traits:
        return Traits()

    def before_task(self, model: Any, task: Any) -> None:
        pass

    def loss(self, model: Any, batch: Any, task: Any) -> Tensor:
        del model, batch, task
        return torch.zeros(())

    def after_task(self, model: Any, task: Any) -> None:
        pass


def test_what_has_the_three_hooks_is_a_method() -> None:
    assert isinstance(Counting(), Method)
    assert not isinstance(object(), Method)


def test_hyper_parameters_are_the_fields_without_underscore() -> None:
    assert hyper_parameters(Counting(rate=2.0)) == {"rate": 2.0}


def test_learnt_state_is_copies_of_the_tensors_learnt_so_far() -> None:
    method = Counting()
    assert learnt_state(method) == {}
    method.count_ = nn.Parameter(torch.tensor([1.0, 2.0]))
    state = learnt_state(method)
    assert state.keys() == {"count_"}
    assert not state["count_"].requires_grad
    state["count_"].zero_()
    assert method.count_.tolist() == [1.0, 2.0]


def test_what_was_learnt_is_loaded() -> None:
    method = Counting()
    load_learnt_state(method, {"count_": torch.tensor([3.0])})
    assert method.count_ is not None
    assert method.count_.tolist() == [3.0]


@pytest.mark.parametrize("name", ["rate", "other_", "traits"])
def test_state_that_the_method_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"(?s)state of Counting.*one of bases_, count_, name_, weight_.*{name}"):
        load_learnt_state(Counting(), {name: torch.zeros(1)})


def test_only_parameters_that_learn_take_part_in_training() -> None:
    method = Counting()
    method.count_ = torch.zeros(1)
    method.weight_ = nn.Parameter(torch.zeros(2))
    assert [p.shape for p in learnt_parameters(method)] == [(2,)]
    method.weight_.requires_grad_(requires_grad=False)
    assert list(learnt_parameters(method)) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "fast"])
def test_a_number_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="rate"):
        Counting(rate=value)  # pyright: ignore[reportArgumentType]


def test_tensors_by_name_are_saved_one_by_one_and_replace_what_was_there() -> None:
    method = Counting()
    method.bases_ = {"blocks.0/key": torch.ones(2), "blocks.1": torch.zeros(1)}
    state = learnt_state(method)
    assert set(state) == {"bases_/blocks.0/key", "bases_/blocks.1"}
    loaded = Counting()
    loaded.bases_ = {"old": torch.ones(1)}
    load_learnt_state(loaded, state)
    assert set(loaded.bases_) == set(method.bases_)
    assert torch.equal(loaded.bases_["blocks.0/key"], torch.ones(2))
