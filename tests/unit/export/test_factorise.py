"""The factors have the product of the stack and the smallest rank that can give it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lorastream.adapters import Target, attach
from lorastream.export.factorise import smallest_factors, stacked


@given(
    rank=st.integers(0, 4),
    repeated=st.integers(0, 6),
    out=st.integers(4, 9),
    width=st.integers(4, 9),
    seed=st.integers(0, 99),
)
def test_repeated_directions_are_found_out(rank: int, repeated: int, out: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    up, down = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((out, rank), (rank, width)))
    mixed = torch.randn(rank, repeated, generator=generator, dtype=torch.float64)
    wide, tall = torch.cat([up, up @ mixed], 1), torch.cat([down, torch.ones(repeated, rank).double() @ down])
    left, right = smallest_factors(wide, tall)
    assert left.shape[1] == right.shape[0] <= rank
    assert torch.allclose(left @ right, wide @ tall, atol=1e-6 * (1 + float((wide @ tall).abs().max())))


def test_more_updates_than_the_matrix_has_rows() -> None:
    up, down = torch.randn(3, 20).double(), torch.randn(20, 5).double()
    left, right = smallest_factors(up, down)
    assert (left.shape, right.shape) == ((3, 3), (3, 5))
    assert torch.allclose(left @ right, up @ down)


def test_a_layer_of_parts_is_stacked_with_its_scales() -> None:
    network = nn.Sequential(nn.Linear(4, 6))
    base = network[0].weight.detach().clone()
    adapters = attach(network, [Target("0", part=0, parts=3), Target("0", part=2, parts=3)])
    for _ in range(2):
        adapters.new_task(1)
        for adapter in adapters:
            adapter.up.data.normal_()
    adapters.freeze()
    for adapter in adapters:
        adapter.scale.copy_(torch.tensor([2.0, -3.0]))
    (layer,) = adapters.layers.values()
    up, down = stacked(layer)
    assert (up.shape, down.shape) == ((6, 4), (4, 4))
    assert torch.equal(up[2:4], torch.zeros(2, 4).double())
    assert torch.allclose(base.double() + up @ down, layer.composed_weight(torch.float32).double(), atol=1e-6)
