"""The moments are (1/n) sum x x' of all rows that flowed into a layer, in one pass, in any precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lorastream.adapters import Adapters, InputMoments, Target, attach
from lorastream.errors import AdapterError

BATCHES = (3, 1, 4)


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)).double()


@pytest.fixture
def adapters(network: nn.Sequential) -> Adapters:
    return attach(network, [Target("0"), Target("2")])


@pytest.fixture
def batches(generator: torch.Generator) -> list[Tensor]:
    return [torch.randn(n, 7, 5, generator=generator, dtype=torch.float64) for n in BATCHES]


def test_they_are_the_mean_outer_products_of_all_rows(
    network: nn.Sequential, adapters: Adapters, batches: list[Tensor]
) -> None:
    with InputMoments(adapters) as moments:
        for batch in batches:
            network(batch)
    network(batches[0])  # afterwards: not counted
    rows = torch.cat(batches).flatten(end_dim=1)
    hidden = network[:2](rows)
    found = moments.mean()
    torch.testing.assert_close(found["0"], rows.mT @ rows / len(rows))
    torch.testing.assert_close(found["2"], (hidden.mT @ hidden / len(hidden)).detach())
    assert moments.rows == {"0": 7 * sum(BATCHES), "2": 7 * sum(BATCHES)}


def test_under_autocast_sums_stay_exact(network: nn.Sequential, adapters: Adapters, batches: list[Tensor]) -> None:
    """The rows are those of bfloat16; their products are not rounded to it."""
    network.float()
    with torch.autocast("cpu", dtype=torch.bfloat16), InputMoments(adapters) as moments:
        for batch in batches:
            network(batch.float())
    rows = torch.cat(batches).flatten(end_dim=1).float()
    found = moments.mean()["0"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, rows.mT @ rows / len(rows), atol=1e-5, rtol=1e-5)


def test_nothing_that_flowed_in_is_an_error_that_names_the_layer(network: nn.Sequential, adapters: Adapters) -> None:
    with InputMoments(adapters) as moments:
        network[2](torch.ones(1, 6, dtype=torch.float64))
    with pytest.raises(AdapterError, match="input moments of 0"):
        moments.mean()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_is_an_error_that_names_layer_and_batch(
    network: nn.Sequential, adapters: Adapters, batches: list[Tensor], value: float
) -> None:
    batches[1][0, 3, 2] = value
    with InputMoments(adapters) as moments:
        for batch in batches:
            network(batch)
    with pytest.raises(AdapterError, match="input moments of 0, batch 2"):
        moments.mean()


def test_merged_adapters_have_no_layers_to_look_into(adapters: Adapters) -> None:
    adapters.merge()
    with pytest.raises(AdapterError, match="not merged"), InputMoments(adapters):
        pass


def test_centred_they_are_the_covariance(network: nn.Sequential, adapters: Adapters, batches: list[Tensor]) -> None:
    with InputMoments(adapters, centred=True) as moments:
        for batch in batches:
            network(batch + 3)
    rows = torch.cat(batches).flatten(end_dim=1)
    torch.testing.assert_close(moments.mean()["0"], torch.cov(rows.mT, correction=0))
