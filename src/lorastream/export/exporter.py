"""What an exporter is: it refuses what it cannot express, writes a folder, and loads it again in the other library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from lorastream.export.merged import Merged

Logits = Callable[[Tensor], Tensor]
"""From normalised images `[n, 3, s, s]` to logits `[n, classes]`."""


class Exporter(Protocol):
    """One target; a module of this package has these names."""

    PACKAGES: tuple[str, ...]
    """What must be installed, as it is imported."""

    def write(self, merged: Merged, folder: Path) -> list[str]:
        """Write the classifier into an empty folder; return what its user should know of it, a clause each.

        In them `FOLDER` stands for the folder's path.

        Raises:
            UserError: this target cannot express this model; the next step names one that can.
        """
        ...

    def load(self, merged: Merged, folder: Path) -> Logits:
        """Load what was written, with the other library alone, as the printed lines do."""
        ...

    def lines(self, merged: Merged) -> list[str]:
        """Return the Python lines that load it, at most five, where `FOLDER` stands for the folder's path."""
        ...


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export came to.

    Attributes:
        target: its name: `timm`, `hf`, `peft`, `onnx`, `torch`.
        folder: where the files are.
        files: their names with their sizes in bytes.
        largest_difference: of any logit, between lorastream and the other library.
        tolerance: the largest that would have passed.
        compared: on which images.
        notes: what its user should know of it.
        loading: the Python lines that load it, where `FOLDER` stands for the folder's path.
    """

    target: str
    folder: Path
    files: tuple[tuple[str, int], ...]
    largest_difference: float
    tolerance: float
    compared: str
    notes: tuple[str, ...]
    loading: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The Python lines that load it from where it is."""
        return tuple(line.replace("FOLDER", self.folder.as_posix()) for line in self.loading)

    @property
    def n_bytes(self) -> int:
        """The bytes of all files."""
        return sum(size for _, size in self.files)
