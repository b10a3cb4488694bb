"""A linear projection whose weight is composed once a step, whatever the number of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lorastream.adapters.low_rank import Adapter


@dataclass(frozen=True)
class Rows:
    """The output rows of a projection that one adapter moves: `first` to `last` (exclusive)."""

    first: int
    last: int

    @property
    def slice(self) -> slice:
        """The same as a slice."""
        return slice(self.first, self.last)


class AdaptedLinear(nn.Module):
    """A frozen `nn.Linear` whose rows, or slices of them, take low-rank updates.

    The forward pass is one ordinary matrix product with the composed weight. The gradients of the factors are written
    by hand (`_FactorGradients`), so autograd never sees the composition.

    Args:
        base: the linear layer; its weight is not changed.
        rows: for each adapter's name, the output rows that it moves. They must not overlap.

    Attributes:
        adapters: the adapters by name, e.g. `query` and `value` of a fused qkv projection.
    """

    def __init__(self, base: nn.Linear, rows: Mapping[str, Rows]) -> None:
        super().__init__()
        self.base = base
        self.rows = dict(rows)
        self.adapters = nn.ModuleDict(
            {name: Adapter(base.in_features, r.last - r.first, base.weight) for name, r in rows.items()}
        )
        self._composed: tuple[tuple[Any, ...], list[Tensor], Tensor] | None = None

    @property
    def in_features(self) -> int:
        """Width of the input, as of the linear layer that it replaces."""
        return self.base.in_features

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.base.out_features

    def parts(self) -> list[tuple[Rows, Adapter]]:
        """Return every adapter that holds an update, with the rows that it moves."""
        found: list[tuple[Rows, Adapter]] = []
        for name, rows in self.rows.items():
            adapter = self.adapters[name]
            if isinstance(adapter, Adapter) and not adapter.empty:
                found.append((rows, adapter))
        return found

    def merged_linear(self) -> nn.Linear:
        """Return a plain linear layer with all updates added to the weight; the layer here stays as it is."""
        bias = self._bias()
        merged = nn.Linear(self.in_features, self.out_features, bias=bias is not None, device="meta")
        merged.weight = nn.Parameter(self.composed_weight(self.base.weight.dtype).clone(), requires_grad=False)
        if bias is not None:
            merged.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        return merged

    def composed_weight(self, dtype: torch.dtype) -> Tensor:
        """Return `[out, in]`, the weight with all updates in it; composed anew only where something has changed."""
        parts = self.parts()
        base = self.base.weight
        watched = [base, *(tensor for _, adapter in parts for tensor in adapter.watched())]
        key = (dtype, base.device, *((id(t), t._version) for t in watched))  # noqa: SLF001 (torch has no public name for it)
        if self._composed is None or self._composed[0] != key:
            # An ordinary tensor even under inference mode, for a training step may follow before anything has changed.
            with torch.inference_mode(mode=False), torch.no_grad():
                weight = base.detach().clone()
                for rows, adapter in parts:
                    weight[rows.slice] = adapter.compose(weight[rows.slice], adapter.column_scale())
                # What is watched is kept, as a new tensor could take the identity of one that is gone.
                self._composed = (key, watched, weight.to(dtype))
        return self._composed[2]

    def forget_composed(self) -> None:
        """Compose the weight anew when it is next used; needed after a change that torch does not count (`.data`)."""
        self._composed = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Project `inputs [..., in]` to `[..., out]`; under autocast in its type, else in the inputs' own."""
        kind = inputs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
        inputs = inputs.to(dtype)
        bias = self._bias()
        outputs = F.linear(inputs, self.composed_weight(dtype), None if bias is None else bias.to(dtype))
        learning = [(rows, a) for rows, a in self.parts() if a.live] if torch.is_grad_enabled() else []
        if not learning:
            return outputs
        tensors = [t for _, a in learning for t in (a.down, a.up, a.column_scale())]
        return _apply_factor_gradients(outputs, inputs, self, learning, tensors)

    def _bias(self) -> Tensor | None:
        return self.base.bias


def _apply_factor_gradients(
    outputs: Tensor,
    inputs: Tensor,
    layer: AdaptedLinear,
    learning: Sequence[tuple[Rows, Adapter]],
    tensors: Sequence[Tensor | None],
) -> Tensor:
    return _FactorGradients.apply(outputs, inputs, layer, learning, *tensors)  # pyright: ignore[reportReturnType]


class _FactorGradients(torch.autograd.Function):
    """Pass the outputs on, and on the way back give the factors and scales of the adapters their gradients.

    With x the inputs `[n, in]`, g the gradient of the outputs' rows `[n, out]`, D = down, U = up and s the scale, the
    updates contribute x D' diag(s) U' to the outputs, so dD = diag(s) U' (g' x), dU = (g' x) D' diag(s) and
    ds = diag(U' (g' x) D'). They are taken either through P = x D' and Q = g U, which costs little while the ranks are
    few, or through the dense g' x, which costs the same at any number of tasks. (SD-LoRA equation 4; ours.)
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch gives it no type)
        outputs: Tensor,
        inputs: Tensor,
        layer: AdaptedLinear,
        learning: Sequence[tuple[Rows, Adapter]],
        *tensors: Tensor,
    ) -> Tensor:
        # The factors are saved so that torch notices where they change before the backward pass reads them.
        ctx.save_for_backward(inputs, *tensors[0::3], *tensors[1::3])
        ctx.layer, ctx.learning = layer, learning
        ctx.scales = [scale.detach() for scale in tensors[2::3]]
        return outputs.view_as(outputs)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator hides the names)
        ctx: Any,  # noqa: ANN401 (torch gives it no type)
        *gradients: Tensor,
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs = ctx.saved_tensors[0]
        inputs = inputs.reshape(-1, inputs.shape[-1])
        flat = gradient.reshape(-1, gradient.shape[-1])
        # Now the optimiser may step, and torch does not count what a fused one changes.
        ctx.layer.forget_composed()
        found: list[Tensor | None] = [gradient, None, None, None]
        for index, (rows, adapter) in enumerate(ctx.learning):
            first = len(found)
            needs = _Needs(down=ctx.needs_input_grad[first], scale=ctx.needs_input_grad[first + 2])
            found.extend(_gradients(inputs, flat[:, rows.slice], adapter, ctx.scales[index], needs))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class _Needs:
    """Which gradients are asked for, beside that of up."""

    down: bool
    scale: bool


def _gradients(
    inputs: Tensor, gradient: Tensor, adapter: Adapter, scale: Tensor, needs: _Needs
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return the gradients of the live down and up and of every column's scale, where they are needed."""
    rank = adapter.ranks[-1]
    columns = adapter.total_rank if needs.scale else rank
    down, up = adapter.down_stack[-columns:], adapter.up_stack[:, -columns:]
    width = inputs.shape[1] + gradient.shape[1]
    cheaper = _through_ranks if (columns + rank) * width < inputs.shape[1] * gradient.shape[1] else _through_dense
    down_gradient, up_gradient, scale_gradient = cheaper(inputs, gradient, down, up, rank, needs)
    kind, live_scale = adapter.scale.dtype, scale[-rank:]
    of_inputs, of_outputs = adapter.masks or (live_scale.new_ones(()), live_scale.new_ones(1))
    return (
        None if down_gradient is None else (down_gradient * live_scale[:, None] * of_inputs).to(kind),
        (up_gradient * live_scale * of_outputs[:, None]).to(kind),
        None if scale_gradient is None else scale_gradient.to(kind),
    )


def _through_ranks(
    inputs: Tensor, gradient: Tensor, down: Tensor, up: Tensor, rank: int, needs: _Needs
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Take the gradients, but for the live scale, through x D' and g U: cheap while the ranks are few."""
    exact = torch.promote_types(down.dtype, torch.float32)
    hidden = inputs @ down.to(inputs.dtype).mT
    up_gradient = (gradient.mT @ hidden[:, -rank:]).to(exact)
    if not (needs.down or needs.scale):
        return None, up_gradient, None
    hidden_gradient = gradient @ up.to(inputs.dtype)
    return (
        (hidden_gradient[:, -rank:].mT @ inputs).to(exact) if needs.down else None,
        up_gradient,
        (hidden.to(exact) * hidden_gradient.to(exact)).sum(dim=0) if needs.scale else None,
    )


def _through_dense(
    inputs: Tensor, gradient: Tensor, down: Tensor, up: Tensor, rank: int, needs: _Needs
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Take the gradients, but for the live scale, through the dense g' x: the same cost at any number of tasks."""
    exact = torch.promote_types(down.dtype, torch.float32)
    dense = (gradient.mT @ inputs).to(exact)
    up_gradient = dense @ down[-rank:].to(exact).mT
    if not (needs.down or needs.scale):
        return None, up_gradient, None
    projected = up.to(exact).mT @ dense
    return (
        projected[-rank:] if needs.down else None,
        up_gradient,
        (projected * down.to(exact)).sum(dim=1) if needs.scale else None,
    )
