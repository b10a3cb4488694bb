"""Second moments of what flows into the adapted layers, gathered on the device while the network runs."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lorastream import processes
from lorastream.adapters.attach import Adapters
from lorastream.errors import AdapterError

_NONE = 2**62
"""In place of the number of the first batch that was not finite: there was none."""


class InputMoments:
    """Gathers (1/n) sum x x' over all rows x of the inputs of every adapted layer, as long as the context lasts.

    Rows are tokens of images here; the moment is not centred unless asked for. Sums are float32 (float64 for float64
    inputs), under autocast too, and stay on the device: reading them at the end is the only wait.

    Args:
        adapters: of the network that runs meanwhile; not merged.
        centred: whether the rows' mean is taken off them: the covariance.

    Attributes:
        sums: for each layer's name `[in, in]`, the sum of x x' so far.
        totals: for each layer's name `[in]`, the sum of x so far; only where the moment is centred.
        rows: for each layer's name the number of rows so far.
    """

    def __init__(self, adapters: Adapters, *, centred: bool = False) -> None:
        self.adapters = adapters
        self.centred = centred
        self.sums: dict[str, Tensor] = {}
        self.totals: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}
        self._batches: dict[str, int] = {}
        self._first_bad: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        if self.adapters.merged:
            raise AdapterError(
                "input moments",
                expected="adapters that are not merged",
                got="merged ones, whose layers are out of the network",
                next_step="call unmerge() first",
            )
        for name, layer in self.adapters.layers.items():
            self._handles.append(layer.register_forward_pre_hook(self._hook(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def mean(self) -> dict[str, Tensor]:
        """Return the moment `[in, in]` of every adapted layer by its name: of what all processes have gathered.

        Raises:
            AdapterError: nothing flowed into a layer, or a value was not finite; layer and batch are named.
            ProcessLostError: another process failed or is gone.
        """
        return {name: self._mean(name, layer.base.weight) for name, layer in self.adapters.layers.items()}

    def _mean(self, name: str, weight: Tensor) -> Tensor:
        nothing = weight.new_zeros((weight.shape[1],) * 2, dtype=torch.promote_types(weight.dtype, torch.float32))
        rows = int(processes.total(torch.tensor(self.rows.get(name, 0), device=weight.device)))
        first_bad = processes.smallest(self._first_bad.get(name, torch.tensor(_NONE, device=weight.device)))
        _check(name, rows, int(first_bad))
        moment = processes.total(self.sums.get(name, nothing)) / rows
        if not self.centred:
            return moment
        mean = processes.total(self.totals.get(name, nothing[0])) / rows
        return moment - torch.outer(mean, mean)

    def _hook(self, name: str) -> Any:  # noqa: ANN401 (torch's own type for hooks)
        def gather(_layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            self._add(name, arguments[0].detach().flatten(end_dim=-2))

        return gather

    @torch.no_grad()
    def _add(self, name: str, rows: Tensor) -> None:
        # Autocast would take the product in its own type, whose sums are too coarse.
        with torch.autocast(rows.device.type, enabled=False):
            exact = rows.to(torch.promote_types(rows.dtype, torch.float32))
            moment = exact.mT @ exact
        number = self._batches.get(name, 0)
        if number == 0:
            self.sums[name], self.rows[name] = moment, 0
            self._first_bad[name] = moment.new_full((), _NONE, dtype=torch.int64)
        else:
            self.sums[name] += moment
        if self.centred:
            self.totals[name] = self.totals.get(name, 0) + exact.sum(dim=0)
        # A value that is not finite shows on the diagonal; its batch is noted without waiting for the device.
        bad = ~moment.diagonal().isfinite().all() & (self._first_bad[name] == _NONE)
        self._first_bad[name] = torch.where(bad, number, self._first_bad[name])
        self.rows[name] += len(rows)
        self._batches[name] = number + 1


def _check(name: str, rows: int, first_bad: int) -> None:
    if not rows:
        raise AdapterError(
            f"input moments of {name}",
            expected="inputs to gather them from",
            got="none: no image went through this layer",
            next_step="give the task training images, and adapt only layers that the network uses",
        )
    if first_bad != _NONE:
        raise AdapterError(
            f"input moments of {name}, batch {first_bad + 1}",
            expected="finite values",
            got="NaN or infinity",
            next_step="look at the images of that batch and at earlier layers, or use training.precision=fp32",
        )
