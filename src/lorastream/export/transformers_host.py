"""The image classifier of transformers that belongs to a Hugging Face encoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import HUGGING_FACE
from lorastream.errors import BackboneError


@dataclass(frozen=True, kw_only=True)
class TransformersHost:
    """The encoder's own classifier class, such as `ViTForImageClassification`.

    Attributes:
        source: the name or the folder of the encoder.
        weights: the file that its weights come from; None where they are the source's own.
        config: the encoder's configuration.
    """

    source: str
    weights: str | None
    config: Any
    own_prefix: str = "encoder."

    @classmethod
    def of(cls, backbone: Backbone) -> TransformersHost:
        """Return the host of an encoder that was loaded through transformers."""
        encoder: Any = backbone.network.get_submodule("encoder")
        identity = backbone.identity
        source = identity.name.removeprefix(HUGGING_FACE)
        return cls(source=source, weights=identity.weights, config=encoder.config)

    @cached_property
    def made(self) -> Any:  # noqa: ANN401 (transformers makes a class for each encoder)
        """The classifier without weights, to look at."""
        with torch.device("meta"):
            return self._make(2)

    @property
    def prefix(self) -> str:
        """Where the classifier keeps its encoder."""
        return f"{self.made.base_model_prefix}."

    def plain(self, n_classes: int) -> nn.Module:
        """Return the classifier, its weights random."""
        return self._make(n_classes)

    def classifiers(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the layers beside the encoder."""
        encoder = self.prefix.removesuffix(".")
        named = network.named_children()
        return {name: layer for name, layer in named if name != encoder and any(True for _ in layer.parameters())}

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the classifier's logits."""
        return network(pixel_values=images).logits

    def _make(self, n_classes: int) -> Any:  # noqa: ANN401 (see `made`)
        from transformers import AutoModelForImageClassification

        known = {key: value for key, value in self.config.to_dict().items() if key not in {"id2label", "label2id"}}
        config = type(self.config).from_dict({**known, "num_labels": n_classes})
        try:
            return AutoModelForImageClassification.from_config(config)
        except ValueError as error:
            raise BackboneError(
                f"export, backbone {HUGGING_FACE}{self.source}",
                expected="an encoder for which transformers has an image classifier",
                got=type(self.config).__name__,
                next_step="export to onnx or torch, which take any network",
            ) from error
