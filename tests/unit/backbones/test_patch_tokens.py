"""Patch tokens are those of timm's own network, and the last block is narrow again afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.class_token import ClassTokenBlock
from lorastream.backbones.load import load
from lorastream.backbones.patch_tokens import PatchTokens, check_has_patches
from lorastream.errors import RecipeError
from tiny import SPEC

WHERE = "training.penalties.patches"


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def _last(backbone: Backbone) -> nn.Module:
    blocks: Any = backbone.network.blocks
    return blocks[-1]


def test_they_are_those_of_the_whole_network_and_features_stay(
    tiny_backbone: Callable[[], Backbone], pixels: Tensor
) -> None:
    backbone = tiny_backbone()
    whole: Any = copy.deepcopy(backbone.network)
    whole.blocks[-1].__class__ = Block
    expected, features = whole.forward_features(pixels), backbone(pixels)
    with PatchTokens(backbone, where=WHERE) as tokens:
        torch.testing.assert_close(backbone(pixels), features, atol=1e-6, rtol=0)
        class_token, patches = tokens.latest()
        torch.testing.assert_close(class_token, features, atol=1e-6, rtol=0)
        assert torch.equal(patches, expected[:, 1:])
        assert patches.shape == (3, 4, 32)
    assert torch.equal(backbone(pixels), features)


def test_an_error_inside_leaves_the_block_as_it_was(tiny_backbone: Callable[[], Backbone], pixels: Tensor) -> None:
    backbone = tiny_backbone()
    assert type(_last(backbone)) is ClassTokenBlock
    tokens = PatchTokens(backbone, where=WHERE)
    with pytest.raises(ZeroDivisionError), tokens:
        _ = 1 / 0
    assert type(_last(backbone)) is ClassTokenBlock
    backbone(pixels)
    with pytest.raises(RuntimeError, match="no image has passed"):
        tokens.latest()


def test_of_several_tokens_before_the_patches_all_are_left_out(pixels: Tensor) -> None:
    """A distilled network has two, and its last block computes all tokens anyway."""
    network: Any = timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=16, patch_size=8, embed_dim=24, num_heads=2, depth=1, num_classes=0
    )
    backbone = Backbone(network, spec=SPEC, width=24, projections={}, name="distilled")
    with PatchTokens(backbone, where=WHERE) as tokens:
        backbone(pixels)
        assert tokens.latest()[1].shape == (3, 4, 24)
        assert type(_last(backbone)) is Block


def test_gradients_flow_through_them(tiny_backbone: Callable[[], Backbone], pixels: Tensor) -> None:
    backbone = tiny_backbone()
    pixels.requires_grad_()
    with PatchTokens(backbone, where=WHERE) as tokens:
        backbone(pixels)
        assert torch.autograd.grad(tokens.latest()[1].sum(), pixels)[0].any()


def test_a_network_without_them_is_refused() -> None:
    backbone = load("test_vit.r160_in1k", pretrained=False)
    check_has_patches(backbone, WHERE)
    other = Backbone(nn.Linear(2, 2), spec=SPEC, width=2, projections={}, name="hf:somebody/encoder")
    with pytest.raises(RecipeError, match=r"(?s)training\.penalties\.patches.*class token.*hf:somebody/encoder"):
        check_has_patches(other, WHERE)
