"""One seed in, named generators out.

A generator is derived from the seed and the names of what it is for (`"batches", task, epoch`), never from what was
drawn before. So nothing random has to be saved: a run that is taken up again at task 3, epoch 2 draws the same numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def class_order(seed: int, n_classes: int) -> list[int]:
    """Return the class order that the published code bases draw from a seed: a legacy NumPy permutation.

    Equal to `np.random.seed(seed); np.random.permutation(n_classes)`, as in LAMDA-PILOT and its descendants (SD-LoRA
    repository, commit 8bacded, `utils/data_manager.py`). Seed 1993 with 100 classes begins 68, 56, 78, 8, 23.

    Args:
        seed: 0 to 2**32 - 1.
        n_classes: at least 1.
    """
    return np.random.RandomState(seed).permutation(n_classes).tolist()


@dataclass(frozen=True)
class Randomness:
    """The source of all random numbers of a run.

    Attributes:
        seed: the seed of the run, 0 to 2**32 - 1.
    """

    seed: int

    def number(self, *names: str | int) -> int:
        """Return the seed, 0 to 2**63 - 1, that belongs to these names."""
        text = "/".join(str(name) for name in (self.seed, *names))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def numpy(self, *names: str | int) -> np.random.Generator:
        """Return a fresh NumPy generator that belongs to these names."""
        return np.random.default_rng(self.number(*names))

    def torch(self, *names: str | int) -> torch.Generator:
        """Return a fresh CPU torch generator that belongs to these names."""
        import torch

        return torch.Generator().manual_seed(self.number(*names))
