"""DualGPM: what the inputs of past tasks span, kept as a basis of it or, once that is smaller, of what it leaves free.

Source: Liang and Li, "InfLoRA: Interference-Free Low-Rank Adaptation for Continual Learning", CVPR 2024
(arXiv 2404.00228), released code liangyanshuo/InfLoRA at e08b00e, `methods/inflora.py`. Without the switch between the
two bases it is GPM: Saha et al., "Gradient Projection Memory for Continual Learning", ICLR 2021 (arXiv 2103.09762).

Everything works on the energy S `[d, d]` of a layer's inputs, symmetric and without negative eigenvalues: a unit vector
u holds the share u' S u / tr S of it. Paper and code read "energy" differently and are the same algorithm otherwise:
S = C, the inputs' second moment, or S = C² (`energy`). Directions are eigenvectors of S within the free space, in terms
of a basis of that space, so that not even a direction without energy can lie in what is protected.

Comparisons with a threshold allow for rounding (`ROUNDING`), so that they come out as on paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.linalg.signs import signed

Energy = Literal["squared_eigenvalues", "eigenvalues"]
FirstTask = Literal["below", "reached"]
Mode = Literal["remove", "retain"]

ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """What is protected in the inputs of one layer of width d.

    Attributes:
        basis: `[d, k]` with orthonormal columns.
        mode: `remove`: the basis spans what is protected; `retain`: it spans what is free.
    """

    basis: Tensor
    mode: Mode

    @classmethod
    def empty(cls, width: int) -> Memory:
        """Return the memory of a layer that no task has used yet: nothing is protected."""
        return cls(basis=torch.empty(width, 0, dtype=torch.float64), mode="remove")

    @property
    def width(self) -> int:
        """Width d of the layer's inputs."""
        return self.basis.shape[0]

    @property
    def protected(self) -> int:
        """How many of the d directions are protected."""
        columns = self.basis.shape[1]
        return columns if self.mode == "remove" else self.width - columns

    def frame(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return bases of what is protected, `[d, p]`, and of what is free, `[d, d - p]`: together orthonormal.

        The stored basis comes back orthonormal to rounding even where it was not quite.

        Args:
            like: a tensor whose device and type they take.
        """
        stored = self.basis.to(like)
        columns = stored.shape[1]
        whole, triangle = torch.linalg.qr(stored, mode="complete")
        known, rest = whole[:, :columns] * triangle.diagonal().sign(), whole[:, columns:]
        return (known, rest) if self.mode == "remove" else (rest, known)


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeSpace:
    """The energy of a task's inputs within what a layer's memory leaves free, f = d - p of the d directions.

    Attributes:
        protected: `[d, p]`, a basis of what is protected.
        directions: `[d, f]`, eigenvectors of the energy within the free space, by falling eigenvalue.
        shares: `[f]`, the share of the whole energy that each holds, 0 to 1.
    """

    protected: Tensor
    directions: Tensor
    shares: Tensor

    def captured(self, taken: int = 0) -> float:
        """Return the share of the energy that is protected once the first `taken` directions are so too."""
        return 1.0 - float(self.shares[taken:].sum())


def energy(moment: Tensor, reading: Energy) -> Tensor:
    """Return S `[..., d, d]` of the second moment C `[..., d, d]` of a layer's inputs.

    `eigenvalues`, the paper's, is C: as C is H H'/n, its trace is the norm that the paper takes of the inputs H.
    `squared_eigenvalues`, the code's, is C²: the code puts C where the paper has H. The published thresholds are the
    code's; with λ_i ~ 1/i, d = 768 and a threshold of 0.98 it protects 28 directions, the paper's reading 664.
    """
    return moment @ moment if reading == "squared_eigenvalues" else moment


def threshold_at(task: int, *, n_tasks: int, first: float, last: float) -> float:
    """Return the threshold of a task, `first + (last - first) task / n_tasks`; it never reaches `last`.

    Args:
        task: from 0; tasks from `n_tasks` on have the threshold of task `n_tasks - 1`.
        n_tasks: over how many tasks it rises, at least 1.
        first: the first task's.
        last: what it rises towards.
    """
    return first + (last - first) * min(task, n_tasks - 1) / n_tasks


def free_spaces(energies: Sequence[Tensor], memories: Sequence[Memory]) -> list[FreeSpace]:
    """Decompose the energy of every layer within what its memory leaves free.

    Layers whose free spaces are equally large are decomposed in one call: all of them, while nothing is protected.

    Args:
        energies: S `[d, d]` of each layer, float64; the device that they are on does the work.
        memories: of each layer.
    """
    frames = [memory.frame(one) for one, memory in zip(energies, memories, strict=True)]
    inside = [free.mT @ _normalised(one) @ free for one, (_, free) in zip(energies, frames, strict=True)]
    found: dict[int, FreeSpace] = {}
    for size in {len(one) for one in inside}:
        layers = [layer for layer, one in enumerate(inside) if len(one) == size]
        rising, vectors = torch.linalg.eigh(torch.stack([inside[layer] for layer in layers]))
        for layer, values, within in zip(layers, rising.clamp(min=0).flip(-1), vectors.flip(-1), strict=True):
            protected, free = frames[layer]
            found[layer] = FreeSpace(protected=protected, directions=signed(free @ within), shares=values)
    return [found[layer] for layer in range(len(inside))]


def design(space: FreeSpace, rank: int, *, row_scale: float) -> Tensor:
    """Return the `down [rank, d]` of a new update: the strongest free directions as rows, each of norm `row_scale`.

    Where fewer than `rank` directions are free, the other rows are zero: they move nothing and learn nothing.
    """
    rows = space.directions[:, :rank].mT * row_scale
    return F.pad(rows, (0, 0, 0, rank - len(rows)))


def protect(
    memory: Memory, space: FreeSpace, threshold: float, *, dual: bool = True, first_task: FirstTask = "below"
) -> Memory:
    """Return the memory once a task is learnt: the strongest free directions are protected until enough energy is.

    The bases switch one way, to `retain`, after an update that leaves more than d/2 directions protected. At the first
    task d/2 are enough, as in the code, which however goes on to store the wrong basis then.

    Args:
        memory: of the tasks before.
        space: the task's energy within what that leaves free.
        threshold: the share of the energy to protect, above 0, at most 1.
        dual: DualGPM; False is GPM, which never switches.
        first_task: how many directions the first task protects: `below` (code): as many leading ones as hold less than
            the threshold together, at least one; `reached` (GPM, equation 5): as few as hold at least the threshold.
    """
    first = memory.protected == 0
    taken = _first_taken(space, threshold, first_task) if first else _taken(memory, space, threshold)
    if taken == 0:
        return memory
    protected, half = memory.protected + taken, memory.width / 2
    if memory.mode == "retain" or (dual and (protected > half or (first and protected == half))):
        return Memory(basis=space.directions[:, taken:], mode="retain")
    return Memory(basis=torch.cat([space.protected, space.directions[:, :taken]], dim=1), mode="remove")


def _first_taken(space: FreeSpace, threshold: float, first_task: FirstTask) -> int:
    # What is captured is 0 here, unless there is no energy at all: then it is 1, and one direction is enough.
    below = int((space.captured() + space.shares.cumsum(dim=0) < threshold - ROUNDING).sum())
    return max(below, 1) if first_task == "below" else min(below + 1, len(space.shares))


def _taken(memory: Memory, space: FreeSpace, threshold: float) -> int:
    """Return how many further directions to protect, by the rule of the memory's mode (they differ in a tie only)."""
    share_before = space.shares.cumsum(dim=0) - space.shares
    if memory.mode == "remove":
        return int((space.captured() + share_before < threshold - ROUNDING).sum())
    return int((1.0 - space.captured() - share_before > 1.0 - threshold - ROUNDING).sum())


def _normalised(one: Tensor) -> Tensor:
    """Return the energy as shares of its trace; one that is zero stays so."""
    return one / one.trace().clamp(min=torch.finfo(one.dtype).tiny)
