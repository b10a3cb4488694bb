"""The patch tokens of a vision transformer, beside the features that are made of its class token."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from timm.models.vision_transformer import Block, VisionTransformer  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.class_token import ClassTokenBlock
from lorastream.errors import RecipeError


class PatchTokens:
    """The tokens that a backbone has made of the latest images, for as long as the context lasts.

    Meanwhile the last block computes all tokens, also where it would else compute the class token alone.

    Args:
        backbone: a vision transformer of timm with a class token; its passes are not compiled.
        where: who asks for them, for the message.

    Raises:
        RecipeError: another backbone.
    """

    def __init__(self, backbone: Backbone, *, where: str) -> None:
        self.network = _with_patches(backbone, where)
        self._latest: Tensor | None = None
        self._handle: RemovableHandle | None = None
        self._narrow = False

    def __enter__(self) -> Self:
        last = self.network.blocks[-1]
        self._narrow = type(last) is ClassTokenBlock
        if self._narrow:
            last.__class__ = Block
        self._handle = self.network.norm.register_forward_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        if self._handle is not None:
            self._handle.remove()
        if self._narrow:
            self.network.blocks[-1].__class__ = ClassTokenBlock
        self._latest = self._handle = None

    def latest(self) -> tuple[Tensor, Tensor]:
        """Return the class token `[n, width]` and the patch tokens `[n, patches, width]` of the latest images.

        Both are as they leave the final norm.
        """
        if self._latest is None:
            raise RuntimeError("no image has passed since the context began")
        return self._latest[:, 0], self._latest[:, self.network.num_prefix_tokens :]

    def _keep(self, _norm: nn.Module, _inputs: tuple[Tensor, ...], tokens: Tensor) -> None:
        self._latest = tokens


def check_has_patches(backbone: Backbone, where: str) -> None:
    """See that patch tokens can be told from a backbone's other tokens.

    Raises:
        RecipeError: it is no vision transformer of timm with a class token.
    """
    _with_patches(backbone, where)


def _with_patches(backbone: Backbone, where: str) -> VisionTransformer:
    network = backbone.network
    if isinstance(network, VisionTransformer) and network.has_class_token:
        return network
    raise RecipeError(
        where,
        expected="a vision transformer of timm with a class token and patch tokens",
        got=f"{backbone.identity.name} ({type(network).__name__})",
        next_step=f"choose such a backbone, for example vit_small_patch16_224.augreg_in21k, or leave {where} out",
    )
