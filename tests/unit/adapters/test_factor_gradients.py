"""The backward pass by hand is the derivative of the forward one: to 1e-9 against finite differences in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lorastream.adapters import AdaptedLinear, Adapter
from lorastream.adapters.adapted_linear import Rows

ROWS = {"query": Rows(0, 5), "value": Rows(10, 15)}


def _layer(past: list[int], live: int, *, masked: bool, designed: bool) -> AdaptedLinear:
    generator = torch.Generator().manual_seed(4)
    layer = AdaptedLinear(nn.Linear(6, 15, dtype=torch.float64).requires_grad_(requires_grad=False), ROWS)
    for adapter in layer.adapters.values():
        assert isinstance(adapter, Adapter)
        for rank in past:
            adapter.grow(rank, generator=generator, up_std=0.5)
            adapter.freeze()
        down = torch.randn(live, 6, generator=generator, dtype=torch.float64) if designed else None
        adapter.grow(live, generator=generator, up_std=0.5, down=down)
        if masked:
            adapter.mask(0.4, generator=generator)
    return layer


@pytest.mark.parametrize("scales_learn", [True, False])
@pytest.mark.parametrize(("masked", "designed"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(("past", "live"), [([], 1), ([1], 1), ([2, 3], 2)], ids=["one", "few ranks", "many ranks"])
def test_gradcheck(past: list[int], live: int, masked: bool, designed: bool, scales_learn: bool, learning: Any) -> None:
    layer = _layer(past, live, masked=masked, designed=designed)
    scaling = learning(torch.linspace(0.5, 1.5, len(past) + 1, dtype=torch.float64), lambda _, values: values)
    names = [name for name, p in layer.named_parameters() if p.requires_grad]
    inputs = torch.randn(2, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(6))

    def outputs(rows: Tensor, values: Tensor, *factors: Tensor) -> Tensor:
        fresh = copy.deepcopy(layer)  # finite differences change what they are given behind torch's back
        scaling.values = values
        for adapter in fresh.adapters.values():
            adapter.scaling = scaling if scales_learn else None
        return functional_call(fresh, dict(zip(names, factors, strict=True)), (rows,))

    values = scaling.values.detach().clone().requires_grad_(scales_learn)
    factors = [dict(layer.named_parameters())[name].detach().clone().requires_grad_() for name in names]
    assert len(names) == (2 if designed else 4)
    given = (inputs.requires_grad_(), values, *factors)
    assert torch.autograd.gradcheck(outputs, given, eps=1e-6, atol=1e-9, rtol=1e-7)


def test_a_layer_without_updates_passes_its_inputs_on_the_way_back() -> None:
    layer = AdaptedLinear(nn.Linear(6, 15, dtype=torch.float64), ROWS)
    inputs = torch.ones(2, 6, dtype=torch.float64, requires_grad=True)
    layer(inputs).sum().backward()
    torch.testing.assert_close(inputs.grad, layer.base.weight.sum(dim=0).expand(2, -1))
