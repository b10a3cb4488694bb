"""A backbone small enough to be taught in a blink; for the fixtures, and for scripts that tests start."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.data.transforms import InputSpec

SIZE = 16
SPEC = InputSpec(image_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, resize_ratio=1.0)


def backbone(*, width: int = 32, seed: int = 7, pretrained: bool = False) -> Backbone:
    """Return two blocks, of the same random weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VisionTransformer(
            img_size=SIZE, patch_size=8, embed_dim=width, depth=2, num_heads=2, mlp_ratio=2, num_classes=0
        )
    places = find_projections(network)
    return Backbone(network, spec=SPEC, width=width, projections=places, name="tiny", pretrained=pretrained)


def exact_network(**options: Any) -> VisionTransformer:
    """Return three blocks in float64, of the same large random weights every time; `options` are timm's."""
    torch.manual_seed(3)
    made = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=3, num_heads=2, mlp_ratio=2, num_classes=0, **options
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.double().eval().requires_grad_(requires_grad=False)
