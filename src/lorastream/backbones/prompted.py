"""How prompts enter a vision transformer: as tokens beside the image's, or as keys and values of some blocks.

Tokens stand behind all others and bear no position, as in the authors' code of L2P (google-research/l2p, where they
stand before all others: attention does not know an order). Prefixes are added to keys and values after the projections,
as in the codes of DualPrompt and CODA-Prompt; DualPrompt's paper adds them to what is projected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from timm.models.vision_transformer import Block, VisionTransformer  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from lorastream.backbones.blocks import CLASS_TOKEN, is_plain, through
from lorastream.backbones.class_token import ClassTokenBlock

Read = Literal["class_token", "prompts"]
"""What the features are: what the network answers with by itself, or the mean of what became of the prompts."""


def takes_prompts(network: nn.Module) -> bool:
    """Whether a network is one whose parts are known: a plain vision transformer of timm."""
    if type(network) is not VisionTransformer or network.attn_pool is not None:
        return False
    return all(_takes_prefixes(block, network.embed_dim) for block in network.blocks)


def prompted(
    network: Any,  # noqa: ANN401 (timm tells no types of the parts)
    images: Tensor,
    *,
    tokens: Tensor | None = None,
    prefixes: Mapping[int, Tensor] | None = None,
    read: Read = "class_token",
) -> Tensor:
    """Return features `[n, width]` of a network that `takes_prompts`.

    Args:
        network: the network.
        images: `[n, 3, s, s]`, normalised.
        tokens: `[n, prompts, width]`; None: none.
        prefixes: by block, counted from 0 at the input, `[n, 2, length, width]`; None: none.
        read: what the features are; `prompts` needs tokens.
    """
    prefixes = prefixes or {}
    x = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(images))))  # noqa: SLF001
    own = x.shape[1]
    if tokens is not None:
        x = torch.cat([x, tokens.to(x.dtype)], dim=1)
    last = len(network.blocks) - 1
    for number, block in enumerate(network.blocks):
        if number == last:
            x = through(block, x, read=_read_of(block, own, read), prefix=prefixes.get(number))
        elif number in prefixes:
            x = through(block, x, prefix=prefixes[number])
        else:
            x = block(x)
    x = network.norm(x)
    return network.fc_norm(x.mean(dim=1)) if read == "prompts" else network.forward_head(x)


def _takes_prefixes(block: Any, width: int) -> bool:  # noqa: ANN401
    known = type(block) in (Block, ClassTokenBlock) and is_plain(block)
    return known and block.attn.num_heads * block.attn.head_dim == width


def _read_of(last: nn.Module, own: int, read: Read) -> slice:
    """Return which tokens are wanted of the last block, where `own` of them are not prompts."""
    if read == "prompts":
        return slice(own, None)
    return CLASS_TOKEN if isinstance(last, ClassTokenBlock) else slice(0, own)
