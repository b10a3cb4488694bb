"""Find the projections of a transformer by the names that timm and Hugging Face give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

FUSED = "qkv"
FUSED_PARTS = ("query", "key", "value")
NAMES: Mapping[str, tuple[str, ...]] = {
    "query": ("q_proj", "query", "q"),
    "key": ("k_proj", "key", "k"),
    "value": ("v_proj", "value", "v"),
    "attention_output": (
        "attn.proj",
        "attention.output.dense",
        "attn.out_proj",
        "self_attn.out_proj",
        "attention.o_proj",
    ),
    "mlp_in": ("mlp.fc1", "intermediate.dense"),
    "mlp_out": ("mlp.fc2",),
}


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Where the projections of one kind are.

    Attributes:
        kind: `query`, `key`, `value`, `attention_output`, `mlp_in`, `mlp_out`.
        pattern: the linear layers by name, with `*` for a number: `blocks.*.attn.qkv`.
        part: which of `parts` equal row slices of the weight.
        parts: 3 for a fused qkv weight, else 1.
    """

    kind: str
    pattern: str
    part: int = 0
    parts: int = 1


def find_projections(network: nn.Module) -> dict[str, list[Projection]]:
    """Return the linear layers of a network by what they are.

    A fused `qkv` weight gives its three row slices. Layers that are named alike but for their number share one entry.
    """
    found: dict[str, dict[str, Projection]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            pattern = re.sub(r"(?<=\.)\d+(?=\.)", "*", name)
            for projection in _of_layer(name, pattern):
                found.setdefault(projection.kind, {})[pattern] = projection
    return {kind: list(projections.values()) for kind, projections in found.items()}


def _of_layer(name: str, pattern: str) -> list[Projection]:
    if name.rsplit(".", 1)[-1] == FUSED:
        return [
            Projection(kind=kind, pattern=pattern, part=part, parts=len(FUSED_PARTS))
            for part, kind in enumerate(FUSED_PARTS)
        ]
    for kind, endings in NAMES.items():
        if any(name.endswith(f".{ending}") for ending in endings):
            return [Projection(kind=kind, pattern=pattern)]
    return []
