"""The backward pass of an adapted projection, written by hand: what its factors and scales learn by.

With x the inputs `[n, in]`, g the gradient of an adapter's output rows `[n, out]`, D = down, U = up and s the scale,
the updates contribute x D' diag(s) U' to the outputs, so dD = diag(s) U' (g' x), dU = (g' x) D' diag(s) and
ds = diag(U' (g' x) D'). They are taken either through P = x D' and Q = g U, which costs little while the ranks are few,
or through the dense g' x, which costs the same at any number of tasks. (SD-LoRA equation 4; the two ways are ours.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lorastream.adapters.converted import product_type

if TYPE_CHECKING:
    from lorastream.adapters.adapted_linear import AdaptedLinear, Rows
    from lorastream.adapters.low_rank import Adapter


@dataclass(frozen=True)
class Learning:
    """An adapter that learns now.

    Attributes:
        rows: the output rows that it moves.
        adapter: its live update and those before it.
        scale: `[R]`, of every column, as it is in this forward pass; with its history where magnitudes learn.
    """

    rows: Rows
    adapter: Adapter
    scale: Tensor


def learn_factors(outputs: Tensor, inputs: Tensor, layer: AdaptedLinear, learning: Sequence[Learning]) -> Tensor:
    """Return the outputs as they are; the way back gives live factors and scales their gradients.

    Args:
        outputs: `[..., out]`, the inputs times the composed weight.
        inputs: `[..., in]`.
        layer: that they went through.
        learning: its adapters that learn.
    """
    tensors = [t for one in learning for t in (one.adapter.down, one.adapter.up, one.scale)]
    return _FactorGradients.apply(outputs, inputs, layer, learning, *tensors)  # pyright: ignore[reportReturnType]


class _FactorGradients(torch.autograd.Function):
    """Nothing on the way forward; on the way back, the gradients of factors and scales beside that of the outputs."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch gives it no type)
        outputs: Tensor,
        inputs: Tensor,
        layer: AdaptedLinear,
        learning: Sequence[Learning],
        *tensors: Tensor,
    ) -> Tensor:
        # The factors are saved so that torch notices where they change before the backward pass reads them.
        ctx.save_for_backward(inputs, *tensors[0::3], *tensors[1::3])
        ctx.layer = layer
        ctx.parts = [(one.rows.slice, one.adapter, one.scale.detach()) for one in learning]
        return outputs.view_as(outputs)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator hides the names)
        ctx: Any,  # noqa: ANN401 (torch gives it no type)
        *gradients: Tensor,
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs = ctx.saved_tensors[0].flatten(end_dim=-2)
        flat = gradient.flatten(end_dim=-2)
        ctx.layer.may_have_changed()
        parts: list[_Part] = []
        for index, (rows, adapter, scale) in enumerate(ctx.parts):
            down, up, magnitudes = ctx.needs_input_grad[4 + 3 * index : 7 + 3 * index]
            learns = {"down_learns": down, "up_learns": up, "scale_learns": magnitudes}
            parts.append(_Part(adapter, scale, flat[:, rows], inputs.dtype, **learns))
        _through_ranks(inputs, [part for part in parts if part.ranks_are_cheaper])
        for part in parts:
            if not part.ranks_are_cheaper:
                _through_dense(inputs, part)
        found = [t for part in parts for t in part.gradients()]
        return (gradient, None, None, None, *found)


class _Part:
    """One adapter on the way back: its factors, what is asked for, and what was found.

    Args:
        adapter: whose newest update is live.
        scale: `[R]`, of every column.
        gradient: `[n, out]`, of its output rows.
        kind: the type that the network computes in.
        down_learns: whether a gradient of down is asked for.
        up_learns: whether one of up is.
        scale_learns: whether one of the scale is.

    Attributes:
        columns: how many there are, of the live update, or of all where the scale learns.
        down, up: `[columns, in]`, `[out, columns]`, in the type that they are multiplied in.
        down_gradient, up_gradient, scale_gradient: but for scale and masks; None where not asked for.
    """

    def __init__(
        self,
        adapter: Adapter,
        scale: Tensor,
        gradient: Tensor,
        kind: torch.dtype,
        *,
        down_learns: bool,
        up_learns: bool,
        scale_learns: bool,
    ) -> None:
        self.adapter, self.scale, self.gradient = adapter, scale, gradient
        self.down_learns, self.up_learns, self.scale_learns = down_learns, up_learns, scale_learns
        self.rank = adapter.ranks[-1]
        self.columns = adapter.total_rank if scale_learns else self.rank
        self.exact = torch.promote_types(adapter.scale.dtype, torch.float32)
        up, down = adapter.stacks(kind if self.ranks_are_cheaper else product_type(kind, self.exact))
        self.up, self.down = up[:, -self.columns :], down[-self.columns :]
        self.down_gradient: Tensor | None = None
        self.up_gradient: Tensor | None = None
        self.scale_gradient: Tensor | None = None

    @property
    def ranks_are_cheaper(self) -> bool:
        """Whether x D' and g U cost fewer products than g' x."""
        width, height = self.adapter.in_features, self.adapter.out_features
        return (self.columns + self.rank) * (width + height) < width * height

    def gradients(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of down, up and scale in the types that they have."""
        kind, live = self.adapter.scale.dtype, self.scale[-self.rank :]
        down = None if self.down_gradient is None else self.down_gradient * live[:, None]
        up = None if self.up_gradient is None else self.up_gradient * live
        if self.adapter.masks is not None:
            of_inputs, of_outputs = self.adapter.masks
            down = None if down is None else down * of_inputs
            up = None if up is None else up * of_outputs[:, None]
        found = (down, up, self.scale_gradient)
        return tuple(None if t is None else t.to(kind) for t in found)  # pyright: ignore[reportReturnType]


def _through_ranks(inputs: Tensor, parts: Sequence[_Part]) -> None:
    """Find the gradients through x D' and g U; the inputs are read once for all adapters of the layer each time."""
    if not parts:
        return
    down = torch.cat([part.down for part in parts])
    hidden = (inputs @ down.mT).split([len(part.down) for part in parts], dim=1)
    backward: list[tuple[_Part, Tensor]] = []
    for part, own in zip(parts, hidden, strict=True):
        if part.up_learns:
            part.up_gradient = (part.gradient.mT @ own[:, -part.rank :]).to(part.exact)
        if part.down_learns or part.scale_learns:
            hidden_gradient = part.gradient @ part.up
            if part.scale_learns:
                part.scale_gradient = (own.to(part.exact) * hidden_gradient.to(part.exact)).sum(dim=0)
            if part.down_learns:
                backward.append((part, hidden_gradient[:, -part.rank :]))
    if backward:
        found = torch.cat([gradient for _, gradient in backward], dim=1).mT @ inputs
        for (part, _), own in zip(backward, found.split([part.rank for part, _ in backward]), strict=True):
            part.down_gradient = own.to(part.exact)


def _through_dense(inputs: Tensor, part: _Part) -> None:
    """Find the gradients through the dense g' x: the same cost at any number of tasks."""
    dense = (part.gradient.mT @ inputs).to(part.up.dtype)
    part.up_gradient = (dense @ part.down[-part.rank :].mT).to(part.exact) if part.up_learns else None
    if part.scale_learns:
        projected = part.up.mT @ dense
        part.scale_gradient = (projected * part.down).sum(dim=1, dtype=part.exact)
        part.down_gradient = projected[-part.rank :].to(part.exact) if part.down_learns else None
    elif part.down_learns:
        part.down_gradient = (part.up.mT @ dense).to(part.exact)
