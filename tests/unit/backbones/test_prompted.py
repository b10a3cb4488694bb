"""Prompts in a vision transformer: against attention written out in float64, and against no prompts at all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import tiny
from lorastream.backbones.backbone import Backbone
from lorastream.backbones.blocks import through
from lorastream.backbones.class_token import narrow
from lorastream.backbones.prompted import prompted, takes_prompts
from lorastream.errors import MethodError

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled layers, normalised queries": {"init_values": 0.3, "qk_norm": True, "scale_attn_norm": True},
    "register tokens": {"reg_tokens": 2},
    "mean of the tokens": {"global_pool": "avg"},
}
REFUSED: dict[str, dict[str, Any]] = {
    "attention pooling": {"global_pool": "map"},
    "another block": {"block_fn": "parallel"},
}


def _network(**options: Any) -> VisionTransformer:
    made = tiny.exact_network(**options)
    narrow(made)
    return made


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _attention(block: Any, tokens: Tensor, prefix: Tensor) -> Tensor:
    """Return what attention with a prefix finds, one head and one token after another."""
    attention, (n, length, width) = block.attn, tokens.shape
    projected = tokens @ attention.qkv.weight.mT + attention.qkv.bias
    query, key, value = projected.split(width, dim=2)
    found, head = torch.zeros(n, length, width, dtype=tokens.dtype), width // 2
    for image in range(n):
        for part in (slice(0, head), slice(head, width)):
            keys = torch.cat([prefix[image, 0, :, part], key[image, :, part]])
            values = torch.cat([prefix[image, 1, :, part], value[image, :, part]])
            for token in range(length):
                weights = torch.exp(keys @ query[image, token, part] / head**0.5)
                found[image, token, part] = (weights / weights.sum()) @ values
    return found @ attention.proj.weight.mT + attention.proj.bias


def test_a_prefix_is_attended_to_beside_the_tokens() -> None:
    block: Any = _network().blocks[0]
    tokens, prefix = _randn(2, 5, 24), _randn(2, 2, 3, 24, seed=1)
    own = tokens + _attention(block, block.norm1(tokens), prefix)
    expected = own + block.mlp(block.norm2(own))
    torch.testing.assert_close(through(block, tokens, prefix=prefix), expected)
    torch.testing.assert_close(through(block, tokens, read=slice(2, 4), prefix=prefix), expected[:, 2:4])


@pytest.mark.parametrize("kind", KINDS)
def test_without_prompts_it_is_the_network(kind: str) -> None:
    network, images = _network(**KINDS[kind]), _randn(2, 3, 16, 16)
    assert takes_prompts(network)
    torch.testing.assert_close(prompted(network, images), network(images))
    nothing = dict.fromkeys(range(3), torch.zeros(2, 2, 0, 24, dtype=torch.float64))
    torch.testing.assert_close(prompted(network, images, prefixes=nothing), network(images))


@pytest.mark.parametrize("kind", KINDS)
def test_a_prefix_is_what_tokens_without_a_query_would_be(kind: str) -> None:
    """Keys and values of two further tokens, put in as a prefix of a block, change the others as those tokens do."""
    network = _network(**KINDS[kind])
    block: Any = network.blocks[1]
    tokens = _randn(2, 6, 24)
    heads = block.attn.qkv(block.norm1(tokens)).unflatten(-1, (3, 24))
    prefix = heads[:, -2:, 1:].transpose(1, 2)
    normalised = block.attn.k_norm(prefix[:, 0].unflatten(-1, (2, 12))).flatten(start_dim=2)
    prefix = torch.stack([normalised, prefix[:, 1]], dim=1)
    torch.testing.assert_close(through(block, tokens[:, :4], prefix=prefix), through(block, tokens)[:, :4])


@pytest.mark.parametrize("read", ["class_token", "prompts"])
def test_the_last_block_computes_what_is_read_alone_to_the_same_end(read: Any) -> None:
    narrowed, tokens, images = _network(), _randn(2, 4, 24), _randn(2, 3, 16, 16, seed=1)
    whole = copy.deepcopy(narrowed)
    whole.blocks[-1].__class__ = type(whole.blocks[0])
    x = torch.cat([whole._pos_embed(whole.patch_embed(images)), tokens], dim=1)
    x = whole.norm(whole.blocks(x))
    expected = x[:, -4:].mean(dim=1) if read == "prompts" else x[:, 0]
    torch.testing.assert_close(prompted(narrowed, images, tokens=tokens, read=read), expected)
    torch.testing.assert_close(prompted(whole, images, tokens=tokens, read=read), expected)


def test_the_mean_of_the_tokens_leaves_prompts_out() -> None:
    network, tokens, images = _network(global_pool="avg"), _randn(2, 4, 24), _randn(2, 3, 16, 16, seed=1)
    x = network.blocks(torch.cat([network._pos_embed(network.patch_embed(images)), tokens], dim=1))
    expected = network.fc_norm(network.norm(x)[:, 1:5].mean(dim=1))
    torch.testing.assert_close(prompted(network, images, tokens=tokens), expected)


def test_gradients_reach_what_enters() -> None:
    network, images = _network(), _randn(2, 3, 16, 16)
    tokens = _randn(2, 2, 24).requires_grad_()
    prefixes = {number: _randn(2, 2, 2, 24, seed=number).requires_grad_() for number in range(3)}
    prompted(network, images, tokens=tokens, prefixes=prefixes, read="prompts").sum().backward()
    assert all(given.grad is not None and given.grad.any() for given in (tokens, *prefixes.values()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_near_float32(dtype: torch.dtype) -> None:
    network, images = _network().float(), _randn(2, 3, 16, 16).float()
    tokens, prefixes = _randn(2, 2, 24).float(), {0: _randn(2, 2, 2, 24, seed=1).float()}
    exact = prompted(network, images, tokens=tokens, prefixes=prefixes)
    with torch.autocast("cpu", dtype=dtype):
        rounded = prompted(network, images, tokens=tokens, prefixes=prefixes)
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("kind", REFUSED)
def test_networks_whose_parts_are_not_known_take_none(kind: str) -> None:
    from timm.models.vision_transformer import ParallelScalingBlock

    options = REFUSED[kind]
    given = {**options, "block_fn": ParallelScalingBlock} if "block_fn" in options else options
    assert not takes_prompts(_network(**given))
    assert not takes_prompts(torch.nn.Linear(2, 2))


def test_a_backbone_that_takes_none_says_which_do() -> None:
    made: Backbone = tiny.backbone()
    made.check_takes_prompts()
    assert made.depth == 2
    made.network = torch.nn.Linear(2, 2)
    with pytest.raises(MethodError, match=r"(?s)plain vision transformer of timm, such as glyph_vit.*Linear"):
        made.check_takes_prompts()
