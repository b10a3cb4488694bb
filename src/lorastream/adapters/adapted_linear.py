"""A linear projection whose weight is composed once a step, whatever the number of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.adapters.converted import product_type
from lorastream.adapters.factor_gradients import Learning, learn_factors
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
    by hand (`factor_gradients`), so autograd never sees the composition, and `torch.compile` compiles around it: what
    the compiler sees does not change with the tasks.

    Args:
        base: the linear layer; its weight is not changed.
        rows: for each adapter's name, the output rows that it moves. They must not overlap.

    Attributes:
        adapters: the adapters by name, e.g. `query` and `value` of a fused qkv projection.
        unchanged: whether somebody promises that no factor changes for now; see `Adapters.unchanged`.
        left_out: whether it projects as if it had no updates; see `Adapters.left_out`.
    """

    def __init__(self, base: nn.Linear, rows: Mapping[str, Rows]) -> None:
        super().__init__()
        self.base = base
        self.rows = dict(rows)
        self.adapters = nn.ModuleDict(
            {name: Adapter(base.in_features, r.last - r.first, base.weight) for name, r in rows.items()}
        )
        self.unchanged = False
        self.left_out = False
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
        with torch.no_grad():
            return self._composed_weight(dtype, [(rows, a, a.column_scale()) for rows, a in self.parts()])

    def may_have_changed(self) -> None:
        """Compose the weight anew when it is next used, as after a backward pass, when an optimiser may step.

        Torch counts most changes of a tensor, but not those of a fused optimiser or through `.data`. Does nothing
        within `Adapters.unchanged`.
        """
        if not self.unchanged:
            self._composed = None

    @torch.compiler.disable
    def __call__(self, inputs: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Project `inputs [..., in]` to `[..., out]`, and run the hooks."""
        return super().__call__(inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Project `inputs [..., in]` to `[..., out]`; under autocast in its type, else in the inputs' own."""
        if self.left_out:
            return self.base(inputs)
        kind = inputs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
        inputs = inputs.to(dtype)
        bias = self._bias()
        parts = [(rows, adapter, adapter.column_scale()) for rows, adapter in self.parts()]
        outputs = F.linear(inputs, self._composed_weight(dtype, parts), None if bias is None else bias.to(dtype))
        learning = [Learning(*part) for part in parts if part[1].live] if torch.is_grad_enabled() else []
        return learn_factors(outputs, inputs, self, learning) if learning else outputs

    def _composed_weight(self, dtype: torch.dtype, parts: Sequence[tuple[Rows, Adapter, Tensor]]) -> Tensor:
        base = self.base.weight
        watched = [base, *(tensor for _, adapter, _ in parts for tensor in adapter.watched())]
        key = (dtype, base.device, *((id(t), t._version) for t in watched))  # noqa: SLF001 (torch has no public name for it)
        if self._composed is None or self._composed[0] != key:
            # An ordinary tensor even under inference mode, for a training step may follow before anything has changed.
            with torch.inference_mode(mode=False), torch.no_grad():
                weight = base.detach().to(product_type(dtype, base.dtype), copy=True)
                for rows, adapter, scale in parts:
                    adapter.compose(base[rows.slice], scale, out=weight[rows.slice])
                # What is watched is kept, as a new tensor could take the identity of one that is gone.
                self._composed = (key, watched, weight.to(dtype))
        return self._composed[2]

    def _bias(self) -> Tensor | None:
        return self.base.bias
