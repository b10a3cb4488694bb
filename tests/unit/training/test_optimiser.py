"""Optimisers are those named, and the learning rate follows each schedule to the published value."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lorastream.training.optimiser import build_optimiser, lr_factor, set_lr
from lorastream.training.settings import TrainingSettings


def _settings(**given: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(given)


def _groups() -> list[dict[str, Any]]:
    return [{"params": [nn.Parameter(torch.ones(2))], "lr": 0.5}, {"params": [nn.Parameter(torch.ones(1))], "lr": 0.1}]


@pytest.mark.parametrize(
    ("name", "expected"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_each_optimiser_with_its_decay_and_the_groups_rates(name: str, expected: type) -> None:
    optimiser = build_optimiser(_groups(), _settings(optimiser=name, weight_decay=0.01))
    assert type(optimiser) is expected
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 0.1]
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.01, 0.01]


def test_two_steps_of_sgd_by_hand() -> None:
    """Momentum 0.9, rate 0.1, gradient 1 twice: 1 - 0.1 = 0.9; the velocity is then 1.9: 0.9 - 0.19 = 0.71."""
    parameter = nn.Parameter(torch.ones(1))
    optimiser = build_optimiser([{"params": [parameter], "lr": 0.1}], _settings(momentum=0.9))
    values = []
    for _ in range(2):
        parameter.grad = torch.ones(1)
        optimiser.step()
        values.append(parameter.item())
    assert values == pytest.approx([0.9, 0.71])


def test_constant() -> None:
    assert {lr_factor(_settings(epochs=20), epoch) for epoch in (0, 0.5, 19.99)} == {1.0}


def test_cosine_by_hand() -> None:
    """Over four epochs: cos² of 0, π/8, π/4 and 3π/8, and the same within an epoch."""
    settings = _settings(schedule="cosine", epochs=4)
    found = [lr_factor(settings, epoch) for epoch in (0, 0.9, 1, 2, 3, 3.9)]
    half = (2 + math.sqrt(2)) / 4
    assert found == pytest.approx([1, 1, half, 0.5, 1 - half, 1 - half])


def test_multistep_by_hand() -> None:
    """SD-LoRA on ImageNet-A: the rate falls to a twentieth after epoch 10 and again after epoch 15."""
    settings = _settings(schedule="multistep", milestones=[10, 15], decay_factor=0.05)
    found = [lr_factor(settings, epoch) for epoch in (0, 9.99, 10, 14.5, 15, 19)]
    assert found == pytest.approx([1, 1, 0.05, 0.05, 0.0025, 0.0025])


def test_quarter_cosine_is_that_of_inf_lora() -> None:
    """Twenty epochs from 5e-4: the first two at full rate, the last at cos(99π/200 · 18/19) · 5e-4 = 0.487e-4."""
    settings = _settings(schedule="quarter_cosine", epochs=20, lr=5e-4)
    rates = [5e-4 * lr_factor(settings, epoch) for epoch in range(20)]
    assert rates[0] == rates[1] == 5e-4
    assert rates[19] == pytest.approx(0.487e-4, rel=2e-3)
    assert rates[19] == pytest.approx(5e-4 * math.cos(99 * math.pi / 200 * 18 / 19))
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[1:]))


def test_quarter_cosine_of_one_epoch_runs_at_full_rate() -> None:
    assert lr_factor(_settings(schedule="quarter_cosine", epochs=1), 0.5) == 1.0


def test_the_rate_rises_through_the_warm_up_and_then_follows_its_schedule() -> None:
    settings = _settings(schedule="cosine", epochs=4, warmup_epochs=2.0)
    assert lr_factor(settings, 0) == pytest.approx(0.0005)
    assert lr_factor(settings, 1) == pytest.approx(0.5005)
    assert lr_factor(settings, 2) == pytest.approx(0.5)


@given(
    st.sampled_from([{"schedule": s} for s in ("constant", "cosine", "quarter_cosine")]),
    st.integers(1, 30),
    st.floats(0, 0.999),
    st.floats(0, 5),
)
def test_a_factor_lies_between_zero_and_one(schedule: dict[str, Any], epochs: int, part: float, warmup: float) -> None:
    factor = lr_factor(_settings(**schedule, epochs=epochs, warmup_epochs=warmup), epochs * part)
    assert 0 < factor <= 1


def test_every_group_keeps_its_own_rate() -> None:
    optimiser = build_optimiser(_groups(), _settings())
    assert [set_lr(optimiser, factor) for factor in (0.5, 0.1, 1.0)] == pytest.approx([0.25, 0.05, 0.5])
    set_lr(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.25, 0.05])
