"""The bundled backbone: a small vision transformer that has seen letters and symbols, never a digit.

Made by `scripts/pretrain_glyph_vit.py`; see `docs/glyph_vit.md`.
"""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path

from safetensors import safe_open
from timm.models.vision_transformer import VisionTransformer

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.backbones.weights import check_fits, read_state_dict
from lorastream.data.transforms import InputSpec
from lorastream.errors import BackboneError


def load(name: str, *, weights: Path | None = None, image_size: int | None = None, pretrained: bool = True) -> Backbone:
    """Load `glyph_vit`; see `backbones.load`.

    Raises:
        BackboneError: another image size than its own, or weights that do not fit.
    """
    with as_file(files("lorastream.backbones").joinpath(f"{name}.safetensors")) as bundled:
        with safe_open(bundled, framework="pt") as stored:
            facts = stored.metadata()
        state = read_state_dict(weights or bundled)
    architecture = json.loads(facts["architecture"])
    if image_size not in (None, architecture["img_size"]):
        raise BackboneError(
            "backbone.image_size",
            expected=f"{architecture['img_size']} for {name}",
            got=str(image_size),
            next_step="leave it out, or choose a timm backbone for larger pictures",
        )
    network = VisionTransformer(**architecture)
    if pretrained:
        check_fits(network, state, where=f"backbone.weights, {weights or name}")
        network.load_state_dict(state)
    spec = InputSpec(
        image_size=architecture["img_size"],
        mean=tuple(json.loads(facts["mean"])),
        std=tuple(json.loads(facts["std"])),
        interpolation="bilinear",
        resize_ratio=1.0,
    )
    return Backbone(
        network,
        spec=spec,
        width=network.num_features,
        projections=find_projections(network),
        name=name,
        weights=None if weights is None else str(weights),
        pretrained=pretrained,
    )
