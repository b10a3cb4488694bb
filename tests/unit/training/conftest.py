"""A method of which every hook can be watched, and a model to try it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.data.task import Batch, Task
from lorastream.methods.losses import cross_entropy
from lorastream.methods.protocol import Traits
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness
from lorastream.training.device import accelerator_for
from lorastream.training.settings import TrainingSettings


@dataclass(kw_only=True)
class Probe:
    """The head learns on frozen features; everything that is asked of it is noted.

    Attributes:
        factor: what the loss is multiplied by at each call; its last entry for ever.
        calls: names of the hooks, in order.
    """

    factor: tuple[float, ...] = (1.0,)
    calls: list[str] = field(default_factory=list)

    @property
    def traits(self) -> Traits:
        return Traits()

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        del task
        model.head.learn(newest_only=False)
        self.calls.append("before_task")

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        factor = self.factor[min(self.calls.count("loss"), len(self.factor) - 1)]
        self.calls.append("loss")
        return factor * cross_entropy(model(batch.images), batch, task, "seen_classes")

    def after_backward(self, model: IncrementalClassifier, task: Task) -> None:
        del task
        assert all(p.grad is not None for p in model.learning())
        self.calls.append("after_backward")

    def after_step(self, model: IncrementalClassifier, task: Task) -> None:
        del model, task
        self.calls.append("after_step")

    def after_epoch(self, model: IncrementalClassifier, task: Task, epoch: int) -> None:
        del model, task
        self.calls.append(f"after_epoch {epoch}")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        del model, task
        self.calls.append("after_task")

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        return {"classes": model.n_classes}


@pytest.fixture
def probe() -> type[Probe]:
    return Probe


@pytest.fixture
def accelerator() -> Accelerator:
    return accelerator_for(TrainingSettings())


@pytest.fixture
def model(tiny_backbone: Callable[[], Backbone]) -> IncrementalClassifier:
    return IncrementalClassifier(tiny_backbone(), randomness=Randomness(0))


@pytest.fixture
def stream(synthetic_stream: Callable[..., Stream]) -> Stream:
    """Return two tasks of two classes with six training images each."""
    return synthetic_stream(tasks=2, images=6)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
