"""The ways to take a training step, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import networks
import released
from networks import Setup, Step

FLOOR = "floor"
OURS: dict[str, Callable[[Setup, int], Step]] = {
    "sd_lora": lambda setup, tasks: networks.sd_lora(setup, tasks)[1],
    "inf_lora": lambda setup, tasks: networks.inf_lora(setup, tasks)[1],
}
LOOPS: dict[str, Callable[[Setup, int], Step]] = {
    "sd_lora": released.sd_lora_loop,
    "inf_lora": released.inf_lora_loop,
}


@dataclass(frozen=True)
class Way:
    """A way to take a step at a number of tasks.

    Attributes:
        method: `floor`, `sd_lora` or `inf_lora`.
        tasks: how many there are, the newest included; 0 for the floor.
        looped: the released code's way, not ours.
    """

    method: str
    tasks: int
    looped: bool = False

    @property
    def name(self) -> str:
        """For keys and tables."""
        return f"{self.method}{' loop' if self.looped else ''} {self.tasks or ''}".strip()


LOOP_BATCH = {"cpu": 8, "cuda": 128}
"""At most so many images a step of the released ways, whose memory and time grow with every task."""


def fitting(setup: Setup) -> Setup:
    """Return the setup with a batch at which the released ways fit into memory."""
    return replace(setup, shape=replace(setup.shape, batch=min(setup.shape.batch, LOOP_BATCH[setup.device])))


def step_of(setup: Setup, way: Way) -> Step:
    """Make the step of a way."""
    if way.method == FLOOR:
        return networks.floor(setup)
    return (LOOPS if way.looped else OURS)[way.method](setup, way.tasks)
