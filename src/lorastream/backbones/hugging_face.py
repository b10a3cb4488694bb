"""Any Hugging Face vision encoder with query, key and value projections (extra `hf`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import HUGGING_FACE
from lorastream.backbones.projections import find_projections
from lorastream.backbones.weights import check_fits, read_state_dict
from lorastream.data.transforms import InputSpec
from lorastream.errors import BackboneError, MissingExtraError

HALF = 0.5


class ClassToken(nn.Module):
    """An encoder that answers with its first token after the final norm.

    Args:
        encoder: a `transformers` vision model whose output has a `last_hidden_state [n, tokens, width]`.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return `[n, width]`."""
        return self.encoder(pixel_values=images).last_hidden_state[:, 0]


def load(name: str, *, weights: Path | None = None, image_size: int | None = None, pretrained: bool = True) -> Backbone:
    """Load a Hugging Face vision encoder from the hub or from a local folder; see `backbones.load`.

    Raises:
        MissingExtraError: `transformers` is not installed.
        BackboneError: not found, or not a vision encoder.
    """
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise MissingExtraError.missing(f"backbone.name, {name}", package="transformers", extra="hf") from error
    source = name.removeprefix(HUGGING_FACE)
    try:
        config: Any = AutoConfig.from_pretrained(source)
        config = getattr(config, "vision_config", config)
        size = int(config.image_size)
        encoder = (
            AutoModel.from_pretrained(source, config=config)
            if pretrained and weights is None
            else AutoModel.from_config(config)
        )
    except (OSError, ValueError, AttributeError) as error:
        raise BackboneError(
            f"backbone.name, {name}",
            expected="the name or the folder of a Hugging Face vision encoder",
            got=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
            next_step="check the spelling, or give the folder of a model you have downloaded",
        ) from error
    if image_size not in (None, size):
        raise BackboneError(
            "backbone.image_size",
            expected=f"{size}, the size of {name}",
            got=str(image_size),
            next_step="leave it out; position embeddings are resampled for timm backbones only",
        )
    if pretrained and weights is not None:
        state = read_state_dict(weights)
        check_fits(encoder, state, where=f"backbone.weights, {weights}")
        encoder.load_state_dict(state)
    network = ClassToken(encoder.float())
    mean, std = _normalisation(source)
    return Backbone(
        network,
        spec=InputSpec(image_size=size, mean=mean, std=std),
        width=int(config.hidden_size),
        projections=find_projections(network),
        name=name,
        weights=None if weights is None else str(weights),
        pretrained=pretrained,
    )


def _normalisation(source: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the mean and standard deviation of the model's image processor; 0.5 where it has none."""
    from transformers import AutoImageProcessor

    try:
        processor: Any = AutoImageProcessor.from_pretrained(source)
    except (OSError, ValueError):
        return (HALF, HALF, HALF), (HALF, HALF, HALF)
    return tuple(processor.image_mean), tuple(processor.image_std)
