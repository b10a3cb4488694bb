"""Load a backbone by its exact name; an ambiguous name is refused with the candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorastream.errors import BackboneError

if TYPE_CHECKING:
    from lorastream.backbones.backbone import Backbone

BUNDLED: Mapping[str, str] = {
    "glyph_vit": "small vision transformer for 32 px glyphs, pretrained on symbols without digits, in the package",
}
HUGGING_FACE = "hf:"


def load(
    name: str, *, weights: str | Path | None = None, image_size: int | None = None, pretrained: bool = True
) -> Backbone:
    """Load a frozen backbone.

    Args:
        name: `glyph_vit` (bundled), an exact timm tag such as `vit_base_patch16_224.augreg2_in21k_ft_in1k`, or `hf:`
            and the name or folder of a Hugging Face vision encoder (extra `hf`).
        weights: a local file to take the weights from (safetensors, or a plain state dict); the name's own otherwise.
        image_size: side of the input in pixels; the checkpoint's own otherwise. Position embeddings are resampled.
        pretrained: False for random weights (for tests and ablations).

    Raises:
        BackboneError: unknown or ambiguous name, or weights that are missing, unreadable or of another architecture.
        MissingExtraError: `hf:` without the extra `hf`.
    """
    if weights is not None and not pretrained:
        raise BackboneError(
            "backbone.weights",
            expected="no file where backbone.pretrained is false, which asks for random weights",
            got=str(weights),
            next_step="leave out one of the two",
        )
    path = None if weights is None else _existing(Path(weights))
    return _loader(name)(name, weights=path, image_size=image_size, pretrained=pretrained)


def _loader(name: str) -> Callable[..., Backbone]:
    if name in BUNDLED:
        from lorastream.backbones import glyph_vit

        return glyph_vit.load
    if name.startswith(HUGGING_FACE):
        from lorastream.backbones import hugging_face

        return hugging_face.load
    from lorastream.backbones import timm_encoder

    return timm_encoder.load


def _existing(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_file():
        raise BackboneError(
            "backbone.weights",
            expected="a file with weights (safetensors, or a state dict)",
            got=f"no file at {path}",
            next_step="check the path, or leave it out to take the pretrained weights of the name",
        )
    return path
