"""The residual of a unit direction: 0 along an earlier one, 1 at a right angle, √½ half-way; live factors count."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lorastream.adapters import Adapters, attach
from lorastream.analyses.residuals import grows_from_near_zero, residuals_of


def adapters_with(newest: list[float]) -> Adapters:
    """Return one projection whose past direction is the first entry, and whose live one is as given."""
    adapters = attach(nn.Sequential(nn.Linear(2, 2, bias=False)), "0")
    for up in ([1.0, 0.0], newest):
        adapters.new_task(1, generator=torch.Generator().manual_seed(0))
        for adapter in adapters:
            assert adapter.up is not None
            assert adapter.down is not None
            adapter.down.data = torch.tensor([[2.0, 0.0]])
            adapter.up.data = torch.tensor(up)[:, None]
    return adapters


@pytest.mark.parametrize(
    ("newest", "exact", "none"),
    [([3.0, 0.0], 0.0, 0.0), ([0.0, 3.0], 1.0, 6.0), ([3.0, 3.0], math.sqrt(0.5), 6.0)],
)
def test_worked_by_hand(newest: list[float], exact: float, none: float) -> None:
    found = residuals_of(adapters_with(newest))
    assert found["exact"]["mean"] == pytest.approx(exact, abs=1e-6)
    assert found["product"]["mean"] == pytest.approx(exact, abs=1e-6), "the same at rank 1"
    assert found["none"]["mean"] == pytest.approx(none, abs=1e-6)
    assert found["exact"]["standard_error"] == 0


@pytest.mark.parametrize(("values", "grows"), [([0.1, 0.9], True), ([0.98, 0.99], False), ([0.3, 0.31], False)])
def test_growth_begins_near_zero(values: list[float], *, grows: bool) -> None:
    assert grows_from_near_zero(values) is grows
