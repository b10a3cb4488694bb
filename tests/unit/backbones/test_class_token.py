"""The last block computes the class token alone where nothing else is read: the same features, the same gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Block

from lorastream.adapters import Target, attach
from lorastream.backbones.class_token import ClassTokenBlock, narrow
from tiny import exact_network

TARGETS = [Target("blocks.*.attn.qkv", part=0, parts=3), Target("blocks.*.attn.qkv", part=2, parts=3)]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled layers, normalised queries": {"init_values": 0.3, "qk_norm": True, "scale_attn_norm": True},
    "register tokens": {"reg_tokens": 2},
    "a norm after pooling": {"fc_norm": True},
}
READ_MORE: dict[str, dict[str, Any]] = {
    "mean of the tokens": {"global_pool": "avg"},
    "attention pooling": {"global_pool": "map"},
    "another block": {"block_fn": type("Other", (Block,), {})},
}


def _images() -> torch.Tensor:
    return torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_gradients_are_those_of_the_whole_block(kind: str) -> None:
    whole = exact_network(**KINDS[kind])
    narrowed = copy.deepcopy(whole)
    assert narrow(narrowed)
    found: list[list[torch.Tensor]] = []
    for network in (whole, narrowed):
        adapters = attach(network, TARGETS)
        adapters.grow(2, generator=torch.Generator().manual_seed(5), up_std=0.5)
        features = network(_images())
        found.append([features, *torch.autograd.grad(features.square().sum(), adapters.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)
    assert found[0][-1].abs().max() > 0


def test_the_last_block_computes_one_token_and_the_others_all(monkeypatch: pytest.MonkeyPatch) -> None:
    network = exact_network()
    narrow(network)
    seen: list[int] = []
    forward = Mlp.forward

    def noting(mlp: Mlp, x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[1])
        return forward(mlp, x)

    monkeypatch.setattr(Mlp, "forward", noting)
    network(_images())
    assert seen == [5, 5, 1]


def test_weights_keep_their_names_and_copies_stay_narrow() -> None:
    whole = exact_network()
    names = list(whole.state_dict())
    narrow(whole)
    assert list(whole.state_dict()) == names
    assert isinstance(copy.deepcopy(whole).blocks[-1], ClassTokenBlock)


@pytest.mark.parametrize("kind", READ_MORE)
def test_a_network_of_which_more_is_read_is_left_alone(kind: str) -> None:
    network = exact_network(**READ_MORE[kind])
    before = type(network.blocks[-1])
    assert not narrow(network)
    assert type(network.blocks[-1]) is before


def test_what_is_no_plain_vision_transformer_is_left_alone() -> None:
    """A distilled one gives the mean of two tokens."""
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", depth=1, num_classes=0)
    assert not narrow(distilled)
    assert not narrow(torch.nn.Linear(2, 2))
