"""What an epoch comes to while it runs: sums on the device, so that nothing waits for them."""

from __future__ import annotations

import time

import torch
from accelerate import Accelerator
from torch import Tensor

from lorastream import processes
from lorastream.training.device import total

SECONDS_BETWEEN_REPORTS = 0.2
_NONE = 2**62  # a step that never comes


class Running:
    """Sums over an epoch.

    Attributes:
        sums: float64 `[3]`, of losses, of right answers, of images.
        first_bad: int64, the first step whose loss was not finite; a step that never comes where there is none.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        self.first_bad = torch.full((), _NONE, dtype=torch.int64, device=device)
        self.reported = time.perf_counter()

    def add(self, loss: Tensor, correct: Tensor, n: int, step: int) -> None:
        """Add the mean loss of `n` images of a step, and how many of them were right."""
        self.sums += torch.stack([loss.double() * n, correct.double(), correct.new_tensor(n).double()])
        self.first_bad = torch.where(torch.isfinite(loss), self.first_bad, self.first_bad.clamp(max=step))

    def due(self) -> bool:
        """Whether it is time to report again."""
        now = time.perf_counter()
        due = now - self.reported > SECONDS_BETWEEN_REPORTS
        self.reported = now if due else self.reported
        return due

    def means(self, accelerator: Accelerator) -> tuple[float, float]:
        """Return the mean loss and the accuracy over the images of all processes; NaN where there were none."""
        loss, correct, images = total(accelerator, self.sums.clone()).tolist()
        return (loss / images, correct / images) if images else (float("nan"), 0.0)

    def bad_step(self) -> int | None:
        """Return the first step, from 0, whose loss was not finite on any process; None where all were."""
        step = int(processes.smallest(self.first_bad))
        return None if step == _NONE else step
