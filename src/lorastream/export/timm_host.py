"""Which call of timm makes a backbone's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import BUNDLED

LIKE_BUNDLED = "vit_tiny_patch16_224"
"""What timm calls a plain vision transformer; its sizes are given beside the name."""


@dataclass(frozen=True, kw_only=True)
class TimmHost:
    """`timm.create_model(name, **arguments)`.

    Attributes:
        name: the exact tag, or an architecture.
        arguments: what differs from its defaults.
        weights: the file that the pretrained weights come from; None where they are the tag's own.
    """

    name: str
    arguments: dict[str, Any]
    weights: str | None = None
    own_prefix: str = ""
    prefix: str = ""

    @classmethod
    def of(cls, backbone: Backbone) -> TimmHost | None:
        """Return the call that makes a backbone's network; None where timm makes none such by name."""
        name, weights, size = backbone.identity.name, backbone.identity.weights, backbone.spec.image_size
        if name in BUNDLED and isinstance(backbone.network, VisionTransformer):
            return cls(name=LIKE_BUNDLED, arguments=_sizes(backbone.network, size), weights=weights)
        if not timm.is_model(name.partition(".")[0]):
            return None
        config = timm.get_pretrained_cfg(name)
        own_size = None if config is None else config.input_size[-1]
        return cls(name=name, arguments={} if size == own_size else {"img_size": size}, weights=weights)

    @property
    def source(self) -> str:
        """Where its pretrained weights are, as people write it."""
        return f"timm/{self.name}"

    @property
    def architecture(self) -> str:
        """The name without its tag."""
        return self.name.partition(".")[0]

    def call(self, n_classes: int, **more: str) -> str:
        """Return the Python expression; `more` are keywords whose values are expressions."""
        given = {"num_classes": str(n_classes), **more, **{key: repr(value) for key, value in self.arguments.items()}}
        return f'timm.create_model("{self.name}", {", ".join(f"{key}={value}" for key, value in given.items())})'

    def plain(self, n_classes: int) -> nn.Module:
        """Return the network with a classifier, its weights random."""
        return timm.create_model(self.name, num_classes=n_classes, **self.arguments)

    def classifiers(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the layers that timm calls the classifier: one, or two of a distilled network."""
        found: Any = network.get_classifier()  # pyright: ignore[reportCallIssue] (every network of timm has it)
        wanted = {id(layer) for layer in (found if isinstance(found, tuple | list) else (found,))}
        return {name: layer for name, layer in network.named_modules() if id(layer) in wanted}

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the network's answer."""
        return network(images)


def _sizes(network: VisionTransformer, image_size: int) -> dict[str, Any]:
    """Return what tells a plain vision transformer from `LIKE_BUNDLED`."""
    patch: Any = network.patch_embed.patch_size
    block: Any = network.blocks[0]
    return {
        "img_size": image_size,
        "patch_size": int(patch[0]),
        "embed_dim": network.embed_dim,
        "depth": len(network.blocks),
        "num_heads": block.attn.num_heads,
    }
