"""Flat is a first task that never falls by more than five points below its start, while the second rises."""

from __future__ import annotations

import pytest
import torch

from lorastream.analyses.path import stays_flat
from lorastream.analyses.weights import combined


@pytest.mark.parametrize(
    ("first", "second", "flat"),
    [
        ([0.9, 0.88, 0.85], [0.2, 0.5, 0.8], True),
        ([0.9, 0.80, 0.90], [0.2, 0.5, 0.8], False),  # a barrier half-way
        ([0.9, 0.88, 0.84], [0.2, 0.5, 0.8], False),
        ([0.9, 0.90, 0.90], [0.5, 0.9, 0.5], False),  # nothing gained
    ],
)
def test_flat(first: list[float], second: list[float], *, flat: bool) -> None:
    assert stays_flat(first, second) is flat


def test_between_two_weights_is_their_weighted_sum() -> None:
    ends = [{"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([8.0, 0.0])}]
    assert combined(ends, (0.75, 0.25))["w"].tolist() == [2.0, 3.0]
