"""One sign for every direction, where mathematics leaves two."""

from __future__ import annotations

import torch
from torch import Tensor


def signed(directions: Tensor) -> Tensor:
    """Give every column the sign that makes its largest entry positive, the first of them where several are as large.

    An eigenvector has no sign of its own; without this the same run would differ from machine to machine.
    """
    size = directions.abs()
    largest = (size >= size.amax(dim=0) * (1 - 1e-6)).to(torch.uint8).argmax(dim=0)
    return directions * directions.gather(0, largest[None]).sign()
