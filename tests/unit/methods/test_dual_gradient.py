"""Gradients of `down` lean towards the strongest directions of what the pretrained network makes of the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone

LAYERS = ["blocks.0.attn.qkv", "blocks.1.attn.qkv"]


def _inputs_of_the_pretrained(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """Return for each layer all tokens `[rows, in]` that go into it, without any update."""
    seen: dict[str, Tensor] = {}

    def noting(name: str) -> Any:
        def note(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0].flatten(end_dim=-2)

        return note

    for name in LAYERS:
        backbone.network.get_submodule(name).register_forward_pre_hook(noting(name))
    with torch.no_grad():
        backbone(images)
    return seen


@pytest.mark.parametrize("index", [0, 1])
def test_the_gradient_of_down_is_half_projected_and_that_of_up_is_not(
    trial: Any, tiny_backbone: Callable[[], Backbone], index: int
) -> None:
    taught = trial("dual_gradient", rank=3, share=0.9).teach(index)
    task = taught.begin(index)
    with torch.no_grad():
        for adapter in taught.model.adapters:
            adapter.up.normal_(generator=torch.Generator().manual_seed(6))
    taught.loss(task).backward()
    before = {name: (a.down.grad.clone(), a.up.grad.clone()) for name, a in taught.model.adapters.items()}
    taught.method.after_backward(taught.model, task)
    inputs = _inputs_of_the_pretrained(tiny_backbone().double(), taught.batch(task).images)
    for name, adapter in taught.model.adapters.items():
        rows = inputs[name.rpartition("/")[0]]
        _, values, directions = torch.linalg.svd(rows, full_matrices=False)
        energy = values.square() / values.square().sum()
        kept = int((energy.cumsum(dim=0) < 0.9).sum()) + 1
        assert 0 < kept < 32
        projection = directions[:kept].mT @ directions[:kept]
        down, up = before[name]
        torch.testing.assert_close(adapter.down.grad, 0.5 * down + 0.5 * down @ projection)
        assert torch.equal(adapter.up.grad, up)
        assert (adapter.down.grad - down).abs().max() > 1e-3 * down.abs().max()


@pytest.mark.parametrize(("options", "same"), [({"projected": 0.0}, True), ({"share": 1.0}, True), ({}, False)])
def test_nothing_projected_or_everything_held_is_a_plain_gradient(
    trial: Any, options: dict[str, Any], same: bool
) -> None:
    taught = trial("dual_gradient", rank=2, **options)
    task = taught.begin(0)
    with torch.no_grad():
        for adapter in taught.model.adapters:
            adapter.up.fill_(0.1)
    taught.loss(task).backward()
    before = [adapter.down.grad.clone() for adapter in taught.model.adapters]
    taught.method.after_backward(taught.model, task)
    found = [adapter.down.grad for adapter in taught.model.adapters]
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(found, before, strict=True)) is same


def test_past_updates_are_folded_and_directions_are_gone_after_a_task(trial: Any) -> None:
    taught = trial("dual_gradient", rank=2).teach(2)
    assert all(len(adapter.folded) and adapter.ranks == [] for adapter in taught.model.adapters)
    assert not taught.method._directions
