"""Leave out what nobody reads: where a network gives its class token alone, its last block need compute no other.

Of a vision transformer's last block, the keys and values of all tokens are needed, but its output projection and its
MLP for the class token only: about 6 % of a network of 12 blocks, forward and backward, for every method. The features
are the same but for rounding. (Ours; the released codes compute all tokens.)
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from timm.models.vision_transformer import Attention, Block, VisionTransformer  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn


class ClassTokenBlock(Block):
    """A block of timm whose output has the class token alone."""

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Return `[n, 1, width]` of tokens `[n, tokens, width]`, the class token first."""
        del attn_mask, is_causal  # `narrow` leaves networks that are given any as they are
        block: Any = self  # timm tells no types of the parts
        first = x[:, :1]
        first = first + block.drop_path1(block.ls1(_attended(block.attn, block.norm1(x))))
        return first + block.drop_path2(block.ls2(block.mlp(block.norm2(first))))


def _attended(attention: Any, tokens: Tensor) -> Tensor:  # noqa: ANN401
    """Return `[n, 1, width]`: what the class token's query finds among all tokens."""
    shape = (*tokens.shape[:2], 3, attention.num_heads, attention.head_dim)
    query, key, value = attention.qkv(tokens).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
    query, key = attention.q_norm(query[:, :, :1]), attention.k_norm(key)
    found = F.scaled_dot_product_attention(query, key, value)
    return attention.proj_drop(attention.proj(attention.norm(found.transpose(1, 2).flatten(start_dim=2))))


def narrow(network: nn.Module) -> bool:
    """Let the last block compute the class token alone, if nothing else of it is read; return whether that is so.

    Only for plain vision transformers of timm, whose parts are known; everything else is left as it is.
    """
    if type(network) is not VisionTransformer:
        return False  # a distilled one, for example, reads two tokens
    last = network.blocks[-1]
    known = type(last) is Block and type(last.attn) is Attention and getattr(last.attn, "gate", None) is None
    reads_it_alone = network.global_pool == "token" and network.attn_pool is None and network.has_class_token
    if known and reads_it_alone and isinstance(last.attn, Attention) and hasattr(last.attn, "norm"):
        last.__class__ = ClassTokenBlock  # the weights and their names stay as they are
        return True
    return False
