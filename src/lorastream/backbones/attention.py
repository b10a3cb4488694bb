"""Attention in bfloat16 on a processor: torch's fused forward pass, and a backward pass by matrix products.

torch's fused backward pass for processors takes over twice as long in bfloat16 as the same thing by whole products,
which use the processor's bfloat16 units: it is two fifths of a training step. Everywhere else torch's own is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_through_softmax = torch.ops.aten._softmax_backward_data.default  # noqa: SLF001 (there is no public one)


def faster_attention(images: Tensor) -> AbstractContextManager[Any]:
    """Return the context in which a network's attention to these images is learnt fastest, whatever network it is.

    Within it, calls of `F.scaled_dot_product_attention` are answered by products where they can be. A compiler sees
    torch's own.
    """
    by_products = images.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return _ByProducts() if by_products else nullcontext()


class AttentionByProducts(torch.autograd.Function):
    """`softmax(scale query keyᵀ) value`: the forward pass is torch's fused one, the backward pass is by products.

    Saved are query, key and value alone; the weights, `[n, heads, queries, keys]`, are there for one block at a time.
    """

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Return `[n, heads, queries, width]` of `[n, heads, queries or keys, width]`."""
        return F.scaled_dot_product_attention(query, key, value, scale=scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: Tensor) -> None:  # noqa: ANN401
        """Save what the backward pass needs."""
        del output
        *saved, ctx.scale = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator hides the names)
        ctx: Any,  # noqa: ANN401 (torch gives it no type)
        gradient: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of query, key and value."""
        query, key, value, towards = (t.flatten(end_dim=1) for t in (*ctx.saved_tensors, gradient))
        with torch.autocast("cpu", enabled=False):
            weights = _scaled_product(query, key.mT, ctx.scale).softmax(dim=-1)
            of_value = weights.mT @ towards
            of_logits = _through_softmax(towards @ value.mT, weights, -1, weights.dtype)
            of_query = _scaled_product(of_logits, key, ctx.scale)
            of_key = _scaled_product(of_logits.mT, query, ctx.scale)
        of_query, of_key, of_value = (t.unflatten(0, gradient.shape[:2]) for t in (of_query, of_key, of_value))
        return of_query, of_key, of_value, None


def _scaled_product(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """Return `scale left @ right`, scaled before it is rounded."""
    return torch.baddbmm(left.new_empty(1), left, right, beta=0, alpha=scale)


class _ByProducts(TorchFunctionMode):
    """Takes over the calls of torch's attention that `AttentionByProducts` can and had better answer."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (whatever the call gives)
        del types
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Answer a call of torch's attention: by products where it is plain, in bfloat16, and gradients are asked for."""
    plain = attn_mask is None and dropout_p == 0.0 and not is_causal and query.ndim == 4  # noqa: PLR2004
    plain = plain and query.shape[:2] == key.shape[:2] == value.shape[:2]
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    if plain and learns and query.dtype == torch.bfloat16:
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return AttentionByProducts.apply(query, key, value, scale)  # pyright: ignore[reportReturnType]
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
