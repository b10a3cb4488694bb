"""Directions are updates divided by a norm; the fit of the newest is least squares over one projection or over all."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lorastream.adapters import Adapters, Target, attach
from lorastream.adapters.directions import Norm, direction_norms, fit_newest


@pytest.fixture
def adapters(generator: torch.Generator) -> Adapters:
    """Return two projections of different widths with three updates each."""
    found = attach(nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 3)).double(), [Target("0"), Target("1")])
    for rank in (2, 1, 2):
        found.grow(rank, generator=generator, up_std=1.0)
        found.freeze()
    return found


def _vectors(adapters: Adapters, norm: Norm) -> list[Tensor]:
    """Return for each projection its directions as vectors, `[3, entries]`."""
    found: list[Tensor] = []
    for adapter in adapters:
        dense = []
        for up, down in adapter.factors():
            divisor = {"exact": (up @ down).norm(), "product": up.norm() * down.norm(), "none": 1.0}[norm]
            dense.append((up @ down / divisor).flatten())
        found.append(torch.stack(dense))
    return found


@pytest.mark.parametrize("norm", ["exact", "product", "none"])
@pytest.mark.parametrize("jointly", [True, False])
def test_the_fit_is_that_of_dense_vectors(adapters: Adapters, norm: Norm, jointly: bool) -> None:
    vectors = _vectors(adapters, norm)
    if jointly:
        vectors = [torch.cat(vectors, dim=1)] * 2
    for fit, dense in zip(fit_newest(adapters, jointly=jointly)[norm], vectors, strict=True):
        expected = torch.linalg.lstsq(dense[:-1].mT, dense[-1:].mT).solution[:, 0]
        left = dense[-1] - expected @ dense[:-1]
        torch.testing.assert_close(fit.coefficients, expected)
        assert fit.readings["fro"] == pytest.approx(left.norm().item())
        assert fit.readings["fro2"] == pytest.approx(left.square().sum().item())
        assert fit.readings["rms"] == pytest.approx(left.square().mean().sqrt().item())
        assert fit.readings["mse"] == pytest.approx(left.square().mean().item())


def test_of_two_directions_at_a_right_angle_nothing_is_explained() -> None:
    """U1 D1 has its entry at (0, 0), U2 D2 at (1, 1): residual 1 at unit norm, whatever the lengths."""
    adapters = attach(nn.Sequential(nn.Linear(2, 2)).double(), [Target("0")])
    (adapter,) = adapters
    up, down = torch.tensor([[3.0, 0.0], [0.0, 5.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    adapter.load(up, down, torch.ones(2), [1, 1])
    assert direction_norms(adapter, "exact").tolist() == [3.0, 10.0]
    (fit,) = fit_newest(adapters, jointly=False)["exact"]
    assert fit.coefficients.tolist() == [0.0]
    assert fit.readings == {"fro": 1.0, "fro2": 1.0, "rms": 0.5, "mse": 0.25}
    (plain,) = fit_newest(adapters, jointly=True)["none"]
    assert plain.readings["fro"] == pytest.approx(10.0)
    assert math.isclose(plain.readings["mse"], 25.0)


def test_an_update_that_is_zero_has_norm_one() -> None:
    (adapter,) = attach(nn.Sequential(nn.Linear(2, 2)).double(), [Target("0")])
    adapter.load(torch.zeros(2, 1), torch.ones(1, 2), torch.ones(1), [1])
    assert direction_norms(adapter, "product").tolist() == [1.0]
