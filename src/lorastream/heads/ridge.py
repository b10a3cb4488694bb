"""Ridge regression on random features: a classifier in closed form, exact whatever the order of the classes.

Source: RanPAC (McDonnell et al., NeurIPS 2023, section 4.3; released code RanPAC/RanPAC). Formula, with f the feature
of an image, P `[d, M]` of standard normal numbers that never change, and y its class as a row of zeros and a one:

    h = ReLU(f P),    G = sum h h',    C = sum h y',    W = (G + λ I)⁻¹ C,    logits h W

Sums are over the images of all tasks, so W is that of all images at once as long as the features do not change. λ is
chosen anew at each task among 10⁻⁸ to 10⁸, by the squared error on a fifth of the new images that the sums leave out
meanwhile. Where no class has an image to spare the last λ stays.

What differs: the source tries all 17, here the search goes from the last λ (1 at first) by tens for as long as the
error falls. A system that is not positive definite is solved with the next larger λ that makes it so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorastream.heads.cosine import CosineHead
from lorastream.heads.features import finite, without
from lorastream.heads.places import place
from lorastream.heads.trained import TrainedHead
from lorastream.linalg.ridge import ridge_solve

PENALTIES = tuple(10.0**power for power in range(-8, 9))
_HELD_OUT = 5  # one image in so many


class RidgeHead(nn.Module):
    """Logits by ridge regression on `width` random features; nothing of it learns by gradients.

    Args:
        width: d, the number of features.

    Attributes:
        sizes: how many classes each task brought.
        projection: P `[d, M]`; M is 0 until `project`.
        gram: G `[M, M]`, float32.
        cross: C' `[classes seen, M]`, float32.
        weight: W' `[classes seen, M]`, float32; zeros for classes that were not taken in yet.
        penalty: λ of the last task.
        warm: a head that learns in place of the regression, while a first task is learnt by gradients.
    """

    projection: Tensor
    gram: Tensor
    cross: Tensor
    weight: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.sizes: list[int] = []
        self.penalty = 1.0
        self.warm: TrainedHead | None = None
        for name, shape in {"projection": (width, 0), "gram": (0, 0), "cross": (0, 0), "weight": (0, 0)}.items():
            self.register_buffer(name, torch.empty(shape))

    @property
    def n_classes(self) -> int:
        """The number of classes seen so far."""
        return sum(self.sizes)

    @property
    def margin(self) -> float:
        """What a loss takes off the logit of an image's own class: nothing."""
        return 0.0

    def empty(self) -> Self:
        """Return a head of the same kind without a class."""
        return type(self)(self.width)

    def project(self, n_features: int, *, generator: torch.Generator) -> None:
        """Draw the random features, once.

        Args:
            n_features: M, at least 1.
            generator: a CPU generator; the same numbers on every device.
        """
        drawn = torch.randn(self.width, n_features, generator=generator)
        self.projection = drawn.to(self.weight)
        self.gram = self.projection.new_zeros(n_features, n_features)
        self.cross = self.projection.new_zeros(self.n_classes, n_features)
        self.weight = self.cross.clone()

    def grow(self, n_classes: int, *, generator: torch.Generator, device: torch.device) -> None:
        """Append room for new classes; `generator` is not used."""
        del generator
        self.sizes.append(n_classes)
        self.to(device)
        room = self.projection.new_zeros(n_classes, self.projection.shape[1])
        self.cross, self.weight = torch.cat([self.cross, room]), torch.cat([self.weight, room])

    def begin(self, *, generator: torch.Generator) -> None:
        """Let a cosine head learn the newest classes in place of the regression, until `take_in`."""
        self.warm = CosineHead(self.width).to(self.projection.device)
        self.warm.grow(self.sizes[-1], generator=generator, device=self.projection.device)

    def restart(self, *, generator: torch.Generator) -> None:
        """Forget all sums; `generator` is not used."""
        del generator
        for tensor in (self.gram, self.cross, self.weight):
            tensor.zero_()

    def take_in(self, first_class: int, features: Sequence[Tensor]) -> None:
        """Add the features `[n, d]` of each class from `first_class` on to the sums, choose λ and solve.

        Raises:
            DataError: a feature is not finite.
        """
        self.warm = None
        rows = [self._random(finite(first_class + i, own).to(self.projection)) for i, own in enumerate(features)]
        kept = [torch.arange(len(own)) % _HELD_OUT != _HELD_OUT - 1 for own in rows]
        gram, cross = self.gram.double(), self.cross.double()
        held = [own[~mask] for own, mask in zip(rows, kept, strict=True)]
        parts = self._sums([own[mask] for own, mask in zip(rows, kept, strict=True)], first_class)
        if sum(map(len, held)):
            self.penalty = self._best_penalty(gram + parts[0], cross + parts[1], held, first_class)
        whole = self._sums(held, first_class)
        gram, cross = gram + parts[0] + whole[0], cross + parts[1] + whole[1]
        self.gram, self.cross = gram.float(), cross.float()
        self._solve()

    def forget(self, label: int) -> None:
        """Drop a class; a task that has no class left keeps its place.

        That an image shows none of the other classes stays known of its images: G keeps them.
        """
        self.sizes[place(label, self.sizes)[0]] -= 1
        self.cross, self.weight = without(self.cross, label), without(self.weight, label)

    def learn(self, *, newest_only: bool) -> None:
        """Do nothing: no gradient reaches the regression."""

    def forward(self, features: Tensor, *, since: int = 0, learning: bool = False) -> Tensor:
        """Return logits `[n, classes seen]` of `features [n, d]`; with `since`, of the tasks from that class on.

        One product for each task: a product with more rows may round its first ones otherwise.
        """
        del learning
        if self.warm is not None:
            return self.warm(features, since=0)
        first = place(since, self.sizes)[0] if since else 0
        with torch.autocast(features.device.type, enabled=False):
            rows = self._random(features.to(self.weight))
            return torch.cat([F.linear(rows, own) for own in self.weight.split(self.sizes)[first:]], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return `projection`, `gram`, `cross`, `ridge_weight` and `penalty [1]`, for saving."""
        penalty = torch.tensor([self.penalty], dtype=torch.float64)
        named = {"projection": self.projection, "gram": self.gram, "cross": self.cross, "ridge_weight": self.weight}
        return {**{name: tensor.clone() for name, tensor in named.items()}, "penalty": penalty}

    def load_tensors(self, tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
        """Take what `tensors` gave; `sizes` are the numbers of classes of the tasks, in order of arrival."""
        self.sizes, self.warm = list(sizes), None
        self.projection, self.gram, self.cross = (tensors[key].clone() for key in ("projection", "gram", "cross"))
        self.weight, self.penalty = tensors["ridge_weight"].clone(), float(tensors["penalty"])

    def _random(self, features: Tensor) -> Tensor:
        return F.relu(features @ self.projection)

    def _sums(self, rows: Sequence[Tensor], first_class: int) -> tuple[Tensor, Tensor]:
        """Return what random features `[n, M]` of each class from `first_class` on add to G and C, in float64."""
        every = torch.cat(list(rows)).double()
        cross = every.new_zeros(self.n_classes, every.shape[1])
        cross[first_class : first_class + len(rows)] = torch.stack([own.double().sum(dim=0) for own in rows])
        return every.mT @ every, cross

    def _best_penalty(self, gram: Tensor, cross: Tensor, held: Sequence[Tensor], first_class: int) -> float:
        rows = torch.cat(list(held)).double()
        labels = torch.arange(len(held)).repeat_interleave(torch.tensor([len(own) for own in held])) + first_class
        targets = F.one_hot(labels.to(rows.device), self.n_classes).to(rows)

        @cache
        def error(place: int) -> float:
            weight, _ = ridge_solve(gram, cross.mT, PENALTIES[place])
            return float((rows @ weight - targets).square().mean())

        best = PENALTIES.index(self.penalty) if self.penalty in PENALTIES else len(PENALTIES) // 2
        while True:
            near = range(max(0, best - 1), min(len(PENALTIES), best + 2))
            better = min(near, key=error)
            if error(better) >= error(best):
                return PENALTIES[best]
            best = better

    def _solve(self) -> None:
        weight, self.penalty = ridge_solve(self.gram.double(), self.cross.double().mT, self.penalty)
        self.weight = weight.mT.float().contiguous()
