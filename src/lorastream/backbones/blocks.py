"""A block of timm's vision transformer: only tokens that are read are computed, and keys and values may be added.

The output projection and the MLP are for the tokens that somebody reads; keys and values are of all tokens, and of the
prefix: pairs of keys and values that are of no token (prefix tuning). Attention stays the fused one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention, Block  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

ALL = slice(None)
CLASS_TOKEN = slice(0, 1)


def is_plain(block: nn.Module) -> bool:
    """Whether it is a block whose parts are known: timm's own, its attention without a gate."""
    attention: Any = getattr(block, "attn", None)  # timm tells no types of the parts
    known = isinstance(block, Block) and type(attention) is Attention
    return known and getattr(attention, "gate", None) is None and hasattr(attention, "norm")


def through(block: Any, tokens: Tensor, *, read: slice = ALL, prefix: Tensor | None = None) -> Tensor:  # noqa: ANN401
    """Return what a block makes of some of its tokens, `[n, read, width]`.

    Args:
        block: one that `is_plain`.
        tokens: `[n, tokens, width]`.
        read: those that are wanted.
        prefix: `[n, 2, length, width]`, keys and values that are attended to beside the tokens' own; None: none.
    """
    own = tokens[:, read]
    own = own + block.drop_path1(block.ls1(_attended(block.attn, block.norm1(tokens), read, prefix)))
    return own + block.drop_path2(block.ls2(block.mlp(block.norm2(own))))


def _attended(attention: Any, tokens: Tensor, read: slice, prefix: Tensor | None) -> Tensor:  # noqa: ANN401
    """Return `[n, read, width]`: what the queries of some tokens find among all tokens and the prefix."""
    heads = (attention.num_heads, attention.head_dim)
    query, key, value = attention.qkv(tokens).unflatten(-1, (3, *heads)).permute(2, 0, 3, 1, 4).unbind(0)
    query, key = attention.q_norm(query[:, :, read]), attention.k_norm(key)
    if prefix is not None:
        keys, values = prefix.to(value.dtype).unflatten(-1, heads).permute(1, 0, 3, 2, 4).unbind(0)
        key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
    found = F.scaled_dot_product_attention(query, key, value)
    return attention.proj_drop(attention.proj(attention.norm(found.transpose(1, 2).flatten(start_dim=2))))
