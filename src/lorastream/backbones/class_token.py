"""Leave out what nobody reads: where a network gives its class token alone, its last block need compute no other.

Of a vision transformer's last block, the keys and values of all tokens are needed, but its output projection and its
MLP for the class token only: about 6 % of a network of 12 blocks, forward and backward, for every method. The features
are the same but for rounding. (Ours; the released codes compute all tokens.)
"""

from __future__ import annotations

from timm.models.vision_transformer import Block, VisionTransformer  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from lorastream.backbones.blocks import CLASS_TOKEN, is_plain, through


class ClassTokenBlock(Block):
    """A block of timm whose output has the class token alone."""

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Return `[n, 1, width]` of tokens `[n, tokens, width]`, the class token first."""
        del attn_mask, is_causal  # `narrow` leaves networks that are given any as they are
        return through(self, x, read=CLASS_TOKEN)


def narrow(network: nn.Module) -> bool:
    """Let the last block compute the class token alone, if nothing else of it is read; return whether that is so.

    Only for plain vision transformers of timm, whose parts are known; everything else is left as it is.
    """
    if type(network) is not VisionTransformer:
        return False  # a distilled one, for example, reads two tokens
    last = network.blocks[-1]
    reads_it_alone = network.global_pool == "token" and network.attn_pool is None and network.has_class_token
    if type(last) is Block and is_plain(last) and reads_it_alone:
        last.__class__ = ClassTokenBlock  # the weights and their names stay as they are
        return True
    return False
