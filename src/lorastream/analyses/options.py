"""How much an analysis does, and whom it tells how far it is. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[float, float, str], None]
"""Told how much is done, of how much, and what is going on."""


def silence(_done: float, _total: float, _doing: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much to do; None: what the analysis takes by itself, made for minutes on two cores.

    Attributes:
        tasks: how many tasks to look at, at least 2.
        points: along a path or the side of a plane, or times during training, at least 3.
        images: test images of each task, at least 1.
    """

    tasks: int | None = None
    points: int | None = None
    images: int | None = None
