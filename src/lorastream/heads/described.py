"""What is kept of a class instead of its images, a Gaussian of its features; its kinds say of which covariance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, Self

import torch
from torch import Tensor

from lorastream.errors import DataError
from lorastream.heads.features import finite
from lorastream.heads.places import without


@dataclass(eq=False)
class ClassStatistics(ABC):
    """A Gaussian of the features of every class; plain tensors on the CPU, so that sampling is the same everywhere.

    The tensors are fields, whose metadata say the `name` where they are saved, and `common` where one has not a row for
    each class. They are replaced and not written to, so that what was handed out for saving does not change.

    Attributes:
        kind: what the names of the tensors begin with where they are saved.
        means: `[classes, d]`, float32.
    """

    kind: ClassVar[str]
    means: Tensor = field(default_factory=lambda: torch.empty(0, 0), metadata={"name": "mean"})

    @property
    def n_classes(self) -> int:
        """How many classes are described: those with the first labels."""
        return len(self.means)

    def put(self, first_class: int, features: Sequence[Tensor]) -> None:
        """Describe the classes from `first_class` on by `features [n, d]` of each; what was known of them goes.

        Raises:
            DataError: classes before `first_class` are not described, or a feature is not finite.
        """
        if first_class > self.n_classes:
            raise DataError(
                "class statistics",
                expected=f"statistics of the {first_class} classes that came before",
                got=f"of {self.n_classes}",
                next_step="set training.alignment from the first task on: no image of older classes is kept",
            )
        described = [self._describe(finite(first_class + i, own)) for i, own in enumerate(features)]
        self._take(first_class, {name: torch.stack([own[name] for own in described]) for name in described[0]})

    @abstractmethod
    def merge(self, label: int, features: Tensor) -> None:
        """Describe a class that is known by more features `[n, d]`, as if they had come with its first ones.

        Raises:
            DataError: a feature is not finite, or how many the class had is not kept.
        """

    def forget(self, label: int) -> None:
        """Drop a class; the labels after it move down by one."""
        for name, rows in self._per_class().items():
            setattr(self, name, without(rows, label))

    @abstractmethod
    def move(self, means: Tensor, transform: Tensor | None = None, *, spread: float = 0.0) -> None:
        """Take the first classes to where their features have moved; see `heads.drift`.

        Args:
            means: `[k, d]`, of the first k classes.
            transform: `[d, d]`, what features are multiplied by; None: only means move.
            spread: how much of δ δ', of the move δ of a mean, is added to its covariance.
        """

    def bytes_per_class(self) -> int:
        """Return how many bytes one more class takes; what all share is not counted."""
        return sum(rows.shape[1:].numel() * rows.element_size() for rows in self._per_class().values())

    @abstractmethod
    def within_class(self) -> Tensor:
        """Return one covariance `[d, d]` of features about the means of their classes, shrunk, float64."""

    @abstractmethod
    def sample(
        self, label: int, n: int, *, generator: torch.Generator, mean_scale: float = 1.0, ridge: float = 0.0
    ) -> Tensor:
        """Return `[n, d]` features drawn for a class, float64 on the CPU.

        Args:
            label: of the class.
            n: how many.
            generator: a CPU generator.
            mean_scale: what the mean is multiplied by.
            ridge: what is added to the variance of every feature.
        """

    def tensors(self) -> dict[str, Tensor]:
        """Return the statistics by name, for saving, as `kind/name`. They are not copied."""
        return {f"{self.kind}/{known.metadata['name']}": getattr(self, known.name) for known in fields(self)}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Take what `tensors` gave."""
        return cls(**{known.name: tensors[f"{cls.kind}/{known.metadata['name']}"].cpu() for known in fields(cls)})

    @abstractmethod
    def _describe(self, features: Tensor) -> dict[str, Tensor]:
        """Return what is kept of a class with these `features [n, d]`, by field."""

    def _take(self, first_class: int, rows: Mapping[str, Tensor]) -> None:
        """Let the rows of the classes from `first_class` on be these, by field, in the type that the field has."""
        for name, own in rows.items():
            known: Tensor = getattr(self, name)
            setattr(self, name, torch.cat([known[:first_class], own.to(known)]) if first_class else own.to(known))

    def _begin_with(self, **rows: Tensor) -> None:
        """Let the rows of the first classes be these, by field, in the type that the field has."""
        for name, own in rows.items():
            known: Tensor = getattr(self, name)
            setattr(self, name, torch.cat([own.to(known), known[len(own) :]]))

    def _per_class(self) -> dict[str, Tensor]:
        return {known.name: getattr(self, known.name) for known in fields(self) if "common" not in known.metadata}


@dataclass(eq=False)
class CountedStatistics(ClassStatistics):
    """Statistics that know how many images each class was described by, so that more can be weighed against them.

    Attributes:
        images: int64 `[classes]`.
    """

    images: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), metadata={"name": "images"})

    @property
    def degrees_of_freedom(self) -> int:
        """How many images the spread rests on, less one for every class that has any."""
        return int((self.images - 1).clamp(min=0).sum())

    def merge(self, label: int, features: Tensor) -> None:
        """Describe a class that is known by more features `[n, d]`, as if they had come with its first ones.

        Raises:
            DataError: a feature is not finite.
        """
        before, new = int(self.images[label]), len(finite(label, features))
        apart = features.double().mean(dim=0) - self.means[label].double()
        self._widen(label, features, apart)
        self._set(
            label, means=self.means[label] + (apart * new / (before + new)).float(), images=self.images[label] + new
        )

    @abstractmethod
    def _widen(self, label: int, features: Tensor, apart: Tensor) -> None:
        """Add more features `[n, d]` to the spread of a class; their mean lies `apart [d]` from the one known.

        Of two parts of a sample (Chan et al. 1979) the scatters add up, and that of their means.
        """

    def _set(self, label: int, **row: Tensor) -> None:
        """Let what is kept of a class be this, by field."""
        for name, own in row.items():
            rows: Tensor = getattr(self, name).clone()
            rows[label] = own
            setattr(self, name, rows)


def lent(spreads: Tensor) -> Tensor:
    """Return the spreads of classes `[classes, ...]`, with the mean of the others in place of those that have none."""
    has_any = spreads.flatten(1).any(dim=1)
    if has_any.all() or not has_any.any():
        return spreads
    return torch.where(has_any.view(-1, *[1] * (spreads.dim() - 1)), spreads, spreads[has_any].mean(dim=0))
