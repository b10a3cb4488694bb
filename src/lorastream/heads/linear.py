"""A linear classifier that grows; the rows of old classes stay bit-identical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.heads.trained import TrainedHead, split_rows


class LinearHead(TrainedHead):
    """Logits `f W' + b` over all classes seen so far; new biases are 0, as in the released SD-LoRA code.

    Args:
        width: d, the number of features.

    Attributes:
        biases: per task `[classes of the task]`.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.biases = nn.ParameterList()

    def grow(self, n_classes: int, *, generator: torch.Generator, device: torch.device) -> None:
        """Append rows for new classes; see `TrainedHead.grow`."""
        super().grow(n_classes, generator=generator, device=device)
        self.biases.append(nn.Parameter(torch.zeros(n_classes, device=device)))

    def restart(self, *, generator: torch.Generator) -> None:
        """Draw all rows anew; biases are 0 again."""
        super().restart(generator=generator)
        with torch.no_grad():
            for bias in self.biases:
                bias.zero_()

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`; see `GrowingHead.forward`."""
        del learning
        first = self._task(since)
        rows = zip(self.weights[first:], self.biases[first:], strict=True)
        return torch.cat([F.linear(features, weight, bias) for weight, bias in rows], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return `weight [classes, d]` and `bias [classes]`; nothing before the first task."""
        if not self.n_classes:
            return {}
        return {**super().tensors(), "bias": torch.cat([bias.detach() for bias in self.biases]).clone()}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        super().load_tensors(tensors, sizes)
        self.biases = split_rows(tensors["bias"], sizes)

    def _tables(self) -> tuple[nn.ParameterList, ...]:
        return (self.weights, self.biases)
