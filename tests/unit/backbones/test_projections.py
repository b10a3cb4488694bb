"""Projections are found by what they are, whatever timm or Hugging Face calls them."""

from __future__ import annotations

from typing import Any

import pytest
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from lorastream.backbones.projections import Projection, find_projections

SMALL: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}


def _found(network: nn.Module) -> dict[str, list[tuple[str, int, int]]]:
    found = find_projections(network)
    assert all(projection.kind == kind for kind, projections in found.items() for projection in projections)
    return {kind: [(p.pattern, p.part, p.parts) for p in projections] for kind, projections in found.items()}


def test_timm_with_a_fused_weight() -> None:
    assert _found(VisionTransformer(**SMALL)) == {
        "query": [("blocks.*.attn.qkv", 0, 3)],
        "key": [("blocks.*.attn.qkv", 1, 3)],
        "value": [("blocks.*.attn.qkv", 2, 3)],
        "attention_output": [("blocks.*.attn.proj", 0, 1)],
        "mlp_in": [("blocks.*.mlp.fc1", 0, 1)],
        "mlp_out": [("blocks.*.mlp.fc2", 0, 1)],
    }


def test_timm_with_weights_apart() -> None:
    found = _found(Eva(**SMALL, qkv_fused=False))
    assert {kind: found[kind] for kind in ("query", "key", "value", "attention_output")} == {
        "query": [("blocks.*.attn.q_proj", 0, 1)],
        "key": [("blocks.*.attn.k_proj", 0, 1)],
        "value": [("blocks.*.attn.v_proj", 0, 1)],
        "attention_output": [("blocks.*.attn.proj", 0, 1)],
    }


def test_hugging_face() -> None:
    from transformers import ViTConfig, ViTModel

    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8}
    network = ViTModel(ViTConfig(**sizes, intermediate_size=32, patch_size=4))
    found = find_projections(network)
    assert set(found) == {"query", "key", "value", "attention_output", "mlp_in", "mlp_out"}
    patterns = [projection.pattern for projections in found.values() for projection in projections]
    assert len(set(patterns)) == 6
    assert all("*" in pattern for pattern in patterns)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("attention.self.query", ("query", "attention.self.query")),
        ("layer.7.attention.output.dense", ("attention_output", "layer.*.attention.output.dense")),
        ("layer.7.intermediate.dense", ("mlp_in", "layer.*.intermediate.dense")),
        ("h.0.attn.k", ("key", "h.*.attn.k")),
        ("text.h.0.self_attn.out_proj", ("attention_output", "text.h.*.self_attn.out_proj")),
        ("blocks.12.attn.my_query", None),
        ("layer.7.output.dense", None),
        ("head", None),
    ],
)
def test_names(name: str, expected: tuple[str, str] | None) -> None:
    found = find_projections(_nested(name))
    assert found == ({} if expected is None else {expected[0]: [Projection(kind=expected[0], pattern=expected[1])]})


def test_only_linear_layers_count() -> None:
    assert find_projections(_nested("blocks.0.attn.qkv", nn.Conv2d(2, 6, 1))) == {}


def test_a_layer_whose_name_begins_with_its_number() -> None:
    network = nn.Sequential(nn.ModuleDict({"qkv": nn.Linear(2, 6)}), nn.ModuleDict({"qkv": nn.Linear(2, 6)}))
    assert [p.pattern for p in find_projections(network)["query"]] == ["0.qkv", "1.qkv"]


def _nested(name: str, layer: nn.Module | None = None) -> nn.Module:
    outermost: nn.Module = layer or nn.Linear(2, 6)
    for part in reversed(name.split(".")):
        outermost = nn.ModuleDict({part: outermost})
    return outermost
