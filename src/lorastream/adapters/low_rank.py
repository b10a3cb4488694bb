"""All updates of one projection: `delta = folded + up diag(s) down`, the ranks of all tasks side by side.

Names: `down [rank, in]` is called A by the LoRA paper and by the SD-LoRA and InfLoRA code, B by the InfLoRA paper;
`up [out, rank]` is the other one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from lorastream.adapters.checks import check_growth, check_past, check_shape, check_stored
from lorastream.adapters.converted import Converted


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

    Between tasks nothing is live and the adapter is numbers only: `down_stack`, `up_stack`, `scale`, `folded`.

    Args:
        in_features: width of the projection's input.
        out_features: width of the output rows that this adapter moves.
        like: a tensor whose device and (floating) type the factors take.

    Attributes:
        down_stack: `[R, in]`, the down factors of all tasks, R = `sum(ranks)`; its last rows mirror `down`.
        up_stack: `[out, R]`, likewise.
        scale: `[R]`, what each column is multiplied by where no `scaling` is set.
        folded: `[out, in]`, the sum of the updates that are no longer told apart; `[0, in]` where there is none.
        down: `[rank, in]`, the live update's; None between tasks. It learns unless it was given to `grow`.
        up: `[out, rank]`, likewise.
        rank_gate: `[rank]`, what the columns of the live update are multiplied by besides; None where there is none.
        ranks: the rank of every update, in order of arrival; 0 where an update was dropped and its place kept.
        scaling: what computes the scale while magnitudes learn; None where it is constant.
        masks: what the live update's input `[in]` and output `[out]` are multiplied by; None without dropout.
    """

    down_stack: Tensor
    up_stack: Tensor
    scale: Tensor
    folded: Tensor

    def __init__(self, in_features: int, out_features: int, like: Tensor) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.register_buffer("down_stack", like.new_empty(0, in_features))
        self.register_buffer("up_stack", like.new_empty(out_features, 0))
        self.register_buffer("scale", like.new_empty(0))
        self.register_buffer("folded", like.new_empty(0, in_features))
        self.down: nn.Parameter | None
        self.up: nn.Parameter | None
        self.rank_gate: nn.Parameter | None
        self.masks: tuple[Tensor, Tensor] | None
        self._drop_live()
        self.ranks: list[int] = []
        self.scaling: ColumnScaling | None = None

    @property
    def live(self) -> bool:
        """Whether the newest update learns."""
        return self.up is not None

    @property
    def empty(self) -> bool:
        """Whether the projection is the pretrained one."""
        return not self.ranks and not len(self.folded)

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

    def grow(
        self,
        rank: int,
        *,
        generator: torch.Generator,
        up_std: float = 0.0,
        down: Tensor | None = None,
        up: Tensor | None = None,
    ) -> None:
        """Append a live update with `down ~ U(-1/√in, 1/√in)` and `up = 0`: the output does not change.

        Args:
            rank: 1 to min(in, out); to out where `up` is given.
            generator: a CPU generator; the same numbers on every device.
            up_std: standard deviation of a Gaussian `up` instead of zeros, at least 0.
            down: `[rank, in]`, taken as it is; it does not learn then, only `up` does.
            up: `[out, rank]`, instead of `down`: taken as it is, only `down` learns, and from 0.

        Raises:
            AdapterError: an update is still live, the rank is out of range, or what is given has another shape.
        """
        self.check_growth(rank, largest=None if up is None else self.out_features)
        down_learns, up_learns = down is None, up is None
        if up is not None:
            check_shape("up", up, (self.out_features, rank))
            down = torch.zeros(rank, self.in_features)
        elif down is None:
            bound = 1 / math.sqrt(self.in_features)
            down = torch.empty(rank, self.in_features).uniform_(-bound, bound, generator=generator)
        check_shape("down", down, (rank, self.in_features))
        if up is None:
            up = torch.zeros(self.out_features, rank)
            if up_std > 0:
                up.normal_(0.0, up_std, generator=generator)
        self._append(up, down)
        self._make_live(down_learns=down_learns, up_learns=up_learns)

    def load(self, up: Tensor, down: Tensor, scale: Tensor, ranks: list[int], folded: Tensor | None = None) -> None:
        """Take all updates, past: `up [out, R]`, `down [R, in]`, `scale [R]` and, if any, `folded [out, in]`.

        Raises:
            AdapterError: the shapes are not this projection's.
        """
        total = sum(ranks)
        folded = self.folded[:0] if folded is None else folded
        whole = (self.out_features if len(folded) else 0, self.in_features)
        expected = ((self.out_features, total), (total, self.in_features), (total,), whole)
        got = (tuple(up.shape), tuple(down.shape), tuple(scale.shape), tuple(folded.shape))
        check_stored(got, expected)
        self._drop_live()
        like = self.scale
        self.up_stack, self.down_stack, self.scale, self.folded = (
            t.detach().clone().to(like) for t in (up, down, scale, folded)
        )
        self.ranks = list(ranks)
        self.scaling = None

    def freeze(self) -> None:
        """Make the live update a past one, and the scale a constant: what the network computes does not change."""
        scale = self.column_scale().detach().clone()
        self.masks = None
        self._mirror()
        self._drop_live()
        self.scale = scale
        self.scaling = None

    def fold(self) -> None:
        """Add all past updates into one constant term, so that neither memory nor the cost of a step grows with them.

        What the projection computes stays the same but for rounding.

        Raises:
            AdapterError: an update is still live.
        """
        check_past("fold", there=not self.empty, live=self.live)
        folded = self.delta()
        self.clear()
        self.folded = folded

    def drop_newest(self, *, keep_place: bool = False) -> None:
        """Drop the newest past update, wholly or with rank 0 in its place.

        Raises:
            AdapterError: there is none, or it is still live.
        """
        check_past("drop_newest", there=bool(self.ranks), live=self.live)
        self.keep(self.update_of_column() < len(self.ranks) - 1)
        if not keep_place:
            self.ranks.pop()

    def keep(self, columns: Tensor) -> None:
        """Keep these columns of the past updates and drop the others; of an update none may be left, but its place is.

        Args:
            columns: bool `[R]`.

        Raises:
            AdapterError: there is no update, or one is still live.
        """
        check_past("keep", there=bool(self.ranks), live=self.live)
        self.ranks = torch.bincount(self.update_of_column()[columns], minlength=len(self.ranks)).tolist()
        self.up_stack, self.down_stack, self.scale = (
            self.up_stack[:, columns],
            self.down_stack[columns],
            self.scale[columns],
        )

    def replace_newest(self, up: Tensor, down: Tensor) -> None:
        """Write other factors of the same rank, `up [out, rank]` and `down [rank, in]`, over the newest past update's.

        Raises:
            AdapterError: there is none, it is still live, or the shapes are not its own.
        """
        check_past("replace_newest", there=bool(self.ranks), live=self.live)
        rank = self.ranks[-1]
        check_shape("up", up, (self.out_features, rank))
        check_shape("down", down, (rank, self.in_features))
        past = self.total_rank - rank
        self.up_stack = torch.cat([self.up_stack[:, :past], up.to(self.up_stack)], dim=1)
        self.down_stack = torch.cat([self.down_stack[:past], down.to(self.down_stack)], dim=0)

    def mask(self, probability: float, *, generator: torch.Generator) -> None:
        """Let the live update go without some of its inputs and outputs until the next call; 0 ends it.

        LoRA dropout (Lin et al., arXiv 2404.09610): entries of the input and the output width, not of the rank, are
        dropped, each with this probability, and the rest is scaled so that the update's mean stays the same (ours).

        Args:
            probability: from 0 to below 1.
            generator: a CPU generator; the same masks on every device.
        """
        if not probability:
            self.masks = None
            return
        kept = 1 - probability
        sizes = (self.in_features, self.out_features)
        drawn = [torch.rand(size, generator=generator).lt(kept).to(self.scale) / kept for size in sizes]
        self.masks = (drawn[0], drawn[1])

    def thaw(self) -> None:
        """Let the newest past update learn again.

        Raises:
            AdapterError: there is none, or one is live already.
        """
        check_past("thaw", there=bool(self.ranks), live=self.live)
        self._make_live(down_learns=True, up_learns=True)

    def open_rank_gate(self) -> None:
        """Multiply every column of the live update by a number of its own that learns, 1 at the start."""
        if self.up is not None:
            self.rank_gate = nn.Parameter(self.up.new_ones(self.ranks[-1]).detach())

    def close_rank_gate(self) -> None:
        """Put the gate into `up` and take it off: what the network computes stays the same but for rounding."""
        if self.up is not None and self.rank_gate is not None:
            with torch.no_grad():
                self.up.mul_(self.rank_gate)
        self.rank_gate = None

    def clear(self) -> None:
        """Drop all updates: the projection is the pretrained one again."""
        empty = self.scale.new_empty
        self.load(empty(self.out_features, 0), empty(0, self.in_features), empty(0), [])

    def column_scale(self) -> Tensor:
        """Return `[R]`, the scale of every column as it is in force now; differentiable where magnitudes learn."""
        scale = self.scale if self.scaling is None else self.scaling(self)
        if self.rank_gate is None:
            return scale
        past = len(scale) - len(self.rank_gate)
        return torch.cat([scale[:past], scale[past:] * self.rank_gate])

    def compose(self, weight: Tensor, scale: Tensor, *, out: Tensor) -> None:
        """Write `weight + folded + up diag(scale) down` into `out`, without gradients.

        Args:
            weight: `[out, in]`.
            scale: `[R]`.
            out: `[out, in]`, no part of `weight`. The product is taken in its type, the sum in the weight's: of a
                bfloat16 product, only what the updates add is rounded twice.
        """
        with torch.no_grad():
            self._mirror()
            weight = weight + self.folded if len(self.folded) else weight
            up, down = self.stacks(out.dtype)
            scaled = up * scale.to(out.dtype)
            if out.dtype == weight.dtype:
                torch.addmm(weight, scaled, down, out=out)
            else:
                torch.add(weight, scaled @ down, out=out)

    def stacks(self, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return `up [out, R]` and `down [R, in]` of all updates in a type, the live one's as it was last composed."""
        return self._converted.of(kind, self.up_stack, self.down_stack, live=self.ranks[-1] if self.live else 0)

    def delta(self) -> Tensor:
        """Return the sum of all updates, `[out, in]`, without gradients."""
        nothing = self.up_stack.new_zeros(self.out_features, self.in_features)
        found = torch.empty_like(nothing)
        self.compose(nothing, self.column_scale(), out=found)
        return found

    def watched(self) -> list[Tensor]:
        """Return the tensors that the composed weight depends on: it is the same as long as they are, and unchanged."""
        factors = [self.down_stack, self.up_stack]
        if self.down is not None and self.up is not None:
            factors = [self.down, self.up]
        if self.rank_gate is not None:
            factors.append(self.rank_gate)
        masks = self.masks or ()
        return [self.scale, self.folded, *factors, *masks, *(self.scaling.parameters if self.scaling else ())]

    def update_of_column(self) -> Tensor:
        """Return int64 `[R]`: to which update, counted from 0, each column belongs."""
        columns = [update for update, rank in enumerate(self.ranks) for _ in range(rank)]
        return torch.tensor(columns, dtype=torch.int64, device=self.scale.device)

    def check_growth(self, rank: int, *, largest: int | None = None) -> None:
        """Check that `grow` can append an update of this rank, at most `largest`; None: the smaller width.

        Raises:
            AdapterError: an update is still live, or the rank is out of range.
        """
        check_growth(rank, largest or min(self.in_features, self.out_features), live=self.live)

    def _append(self, up: Tensor, down: Tensor) -> None:
        self.up_stack = torch.cat([self.up_stack, up.to(self.up_stack)], dim=1)
        self.down_stack = torch.cat([self.down_stack, down.to(self.down_stack)], dim=0)
        self.scale = torch.cat([self.scale, self.scale.new_ones(down.shape[0])])
        self.ranks.append(down.shape[0])

    def _make_live(self, *, down_learns: bool, up_learns: bool) -> None:
        rank = self.ranks[-1]
        self.down = nn.Parameter(self.down_stack[-rank:].clone(), requires_grad=down_learns)
        self.up = nn.Parameter(self.up_stack[:, -rank:].clone(), requires_grad=up_learns)

    def _drop_live(self) -> None:
        for name in ("down", "up", "rank_gate"):
            self.register_parameter(name, None)
        self.masks = None
        self._converted = Converted()

    @torch.no_grad()
    def _mirror(self) -> None:
        """Copy the live factors into the last columns of the stack, so that one product composes all updates."""
        if self.down is not None and self.up is not None:
            down, up = self.down, self.up
            if self.masks is not None:
                down, up = down * self.masks[0], up * self.masks[1][:, None]
            self.down_stack[-self.ranks[-1] :].copy_(down)
            self.up_stack[:, -self.ranks[-1] :].copy_(up)
