"""All low-rank updates of one projection: `delta = up diag(s) down`, the ranks of all tasks side by side.

Names: `down [rank, in]` is called A by the LoRA paper and by the SD-LoRA and InfLoRA code, B by the InfLoRA paper;
`up [out, rank]` is the other one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from lorastream.errors import AdapterError


class ColumnScaling(Protocol):
    """What gives every rank its scale while magnitudes learn; shared by reference between adapters."""

    def __call__(self, adapter: Adapter) -> Tensor:
        """Return `[R]`, the scale of every column of this adapter, differentiable in `parameters`."""
        ...

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors that the scale is computed from, besides the adapter's own factors."""
        ...


class Adapter(nn.Module):
    """The low-rank updates of one projection; the newest may be live (it learns), the others are past (constant).

    Between tasks nothing is live and the adapter is numbers only: `down_stack`, `up_stack`, `scale`.

    Args:
        in_features: width of the projection's input.
        out_features: width of the output rows that this adapter moves.
        like: a tensor whose device and (floating) type the factors take.

    Attributes:
        down_stack: `[R, in]`, the down factors of all tasks, R = `sum(ranks)`; its last rows mirror `down`.
        up_stack: `[out, R]`, likewise.
        scale: `[R]`, what each column is multiplied by where no `scaling` is set.
        down: `[rank, in]`, the live update's; None between tasks.
        up: `[out, rank]`, the live update's; None between tasks.
        ranks: the rank of every update, in order of arrival.
        scaling: what computes the scale while magnitudes learn; None where it is constant.
    """

    down_stack: Tensor
    up_stack: Tensor
    scale: Tensor

    def __init__(self, in_features: int, out_features: int, like: Tensor) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.register_buffer("down_stack", like.new_empty(0, in_features))
        self.register_buffer("up_stack", like.new_empty(out_features, 0))
        self.register_buffer("scale", like.new_empty(0))
        self.down: nn.Parameter | None
        self.up: nn.Parameter | None
        self.register_parameter("down", None)
        self.register_parameter("up", None)
        self.ranks: list[int] = []
        self.scaling: ColumnScaling | None = None

    @property
    def live(self) -> bool:
        """Whether the newest update learns."""
        return self.down is not None

    @property
    def total_rank(self) -> int:
        """R, the ranks of all updates together."""
        return sum(self.ranks)

    def factors(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(up [out, rank], down [rank, in])` of every update in order of arrival, without gradients."""
        self._mirror()
        first = 0
        for rank in self.ranks:
            yield self.up_stack[:, first : first + rank], self.down_stack[first : first + rank]
            first += rank

    def grow(self, rank: int, *, generator: torch.Generator, up_std: float = 0.0) -> None:
        """Append a live update with `down ~ U(-1/√in, 1/√in)` and `up = 0`: the output does not change.

        Args:
            rank: 1 to min(in, out).
            generator: a CPU generator; the same numbers on every device.
            up_std: standard deviation of a Gaussian `up` instead of zeros, at least 0.

        Raises:
            AdapterError: an update is still live, or the rank is out of range.
        """
        self.check_growth(rank)
        bound = 1 / math.sqrt(self.in_features)
        down = torch.empty(rank, self.in_features).uniform_(-bound, bound, generator=generator)
        up = torch.zeros(self.out_features, rank)
        if up_std > 0:
            up.normal_(0.0, up_std, generator=generator)
        self._append(up, down)
        self._make_live()

    def load(self, up: Tensor, down: Tensor, scale: Tensor, ranks: list[int]) -> None:
        """Take all updates, past, from tensors `up [out, R]`, `down [R, in]` and `scale [R]`.

        Raises:
            AdapterError: the shapes are not this projection's.
        """
        total = sum(ranks)
        expected = ((self.out_features, total), (total, self.in_features), (total,))
        got = (tuple(up.shape), tuple(down.shape), tuple(scale.shape))
        if got != expected:
            raise AdapterError(
                "the stored updates of a projection",
                expected=f"up, down, scale of shapes {expected}",
                got=str(got),
                next_step="load the model with the backbone it was made with",
            )
        self.register_parameter("down", None)
        self.register_parameter("up", None)
        like = self.scale
        self.up_stack, self.down_stack, self.scale = (t.detach().clone().to(like) for t in (up, down, scale))
        self.ranks = list(ranks)
        self.scaling = None

    def freeze(self) -> None:
        """Make the live update a past one, and the scale a constant: what the network computes does not change."""
        scale = self.column_scale().detach().clone()
        self._mirror()
        self.register_parameter("down", None)
        self.register_parameter("up", None)
        self.scale = scale
        self.scaling = None

    def thaw(self) -> None:
        """Let the newest past update learn again.

        Raises:
            AdapterError: there is none, or one is live already.
        """
        if self.live or not self.ranks:
            raise AdapterError(
                "adapter",
                expected="a past update and none that is live",
                got=f"{len(self.ranks)} updates, live: {self.live}",
                next_step="grow a new update instead",
            )
        self._make_live()

    def clear(self) -> None:
        """Drop all updates: the projection is the pretrained one again."""
        empty = self.scale.new_empty
        self.load(empty(self.out_features, 0), empty(0, self.in_features), empty(0), [])

    def column_scale(self) -> Tensor:
        """Return `[R]`, the scale of every column as it is in force now; differentiable where magnitudes learn."""
        return self.scale if self.scaling is None else self.scaling(self)

    def compose(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return `weight + up diag(scale) down`, `[out, in]`, without gradients.

        Args:
            weight: `[out, in]`.
            scale: `[R]`.
        """
        with torch.no_grad():
            self._mirror()
            return torch.addmm(weight, self.up_stack * scale, self.down_stack)

    def delta(self) -> Tensor:
        """Return the sum of all updates, `[out, in]`, without gradients."""
        return self.compose(self.up_stack.new_zeros(self.out_features, self.in_features), self.column_scale())

    def watched(self) -> list[Tensor]:
        """Return the tensors that the composed weight depends on: it is the same as long as they are, and unchanged."""
        watched = [self.scale, self.down_stack, self.up_stack]
        if self.down is not None and self.up is not None:
            watched = [self.scale, self.down, self.up]
        if self.scaling is not None:
            watched.extend(self.scaling.parameters)
        return watched

    def check_growth(self, rank: int) -> None:
        """Check that `grow` can append an update of this rank.

        Raises:
            AdapterError: an update is still live, or the rank is out of range.
        """
        largest = min(self.in_features, self.out_features)
        if self.live:
            raise AdapterError(
                "adapter.grow",
                expected="no live update",
                got="the newest update still learns",
                next_step="call freeze() at the end of a task",
            )
        if not 1 <= rank <= largest:
            raise AdapterError(
                "adapter.grow, rank",
                expected=f"1 to {largest}, the width of the projection",
                got=str(rank),
                next_step=f"choose a rank of at most {largest}",
            )

    def _append(self, up: Tensor, down: Tensor) -> None:
        self.up_stack = torch.cat([self.up_stack, up.to(self.up_stack)], dim=1)
        self.down_stack = torch.cat([self.down_stack, down.to(self.down_stack)], dim=0)
        self.scale = torch.cat([self.scale, self.scale.new_ones(down.shape[0])])
        self.ranks.append(down.shape[0])

    def _make_live(self) -> None:
        rank = self.ranks[-1]
        self.down = nn.Parameter(self.down_stack[-rank:].clone())
        self.up = nn.Parameter(self.up_stack[:, -rank:].clone())

    @torch.no_grad()
    def _mirror(self) -> None:
        """Copy the live factors into the last columns of the stack, so that one product composes all updates."""
        if self.down is not None and self.up is not None:
            self.down_stack[-self.ranks[-1] :].copy_(self.down)
            self.up_stack[:, -self.ranks[-1] :].copy_(self.up)
