"""A model that a method can be tried on, one hook at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.data.task import Batch, Task
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness


@dataclass
class Trial:
    """A model in float64, a stream, and a method; `begin` and `end` are the halves of a task.

    Attributes:
        steps: plain gradient steps between them, so that what is learnt is not zero.
    """

    model: IncrementalClassifier
    method: Method
    stream: Stream
    steps: int = 2
    lr: float = 0.5

    def begin(self, index: int) -> Task:
        """Let the model grow and the method prepare it."""
        task = self.task(index)
        self.model.grow(self.stream[index].class_names)
        self.method.before_task(self.model, task)
        self.model.double()
        return task

    def end(self, task: Task) -> None:
        """Take some steps, and let the method settle them."""
        for _ in range(self.steps):
            parameters = self.learning()
            gradients = torch.autograd.grad(self.loss(task), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(self.lr * gradient)
        self.method.after_task(self.model, task)

    def teach(self, tasks: int) -> Trial:
        """Learn the first tasks."""
        for index in range(tasks):
            self.end(self.begin(index))
        return self

    def loss(self, task: Task) -> Tensor:
        """Return the loss on all images of a task."""
        return self.method.loss(self.model, self.batch(task), task)

    def learning(self) -> list[Any]:
        """Return what learns now, the method's own parameters too."""
        from lorastream.methods.protocol import learnt_parameters

        return [*self.model.learning(), *learnt_parameters(self.method)]

    def task(self, index: int) -> Task:
        """Return what the method needs to learn a task."""
        return self.stream[index] if self.method.traits.exemplar_free else self.stream.joined(index)

    def batch(self, task: Task) -> Batch:
        """Return all training images of a task at once, in float64."""
        (batch,) = task.train.batches(1000)
        return Batch(
            images=batch.images.double(), labels=batch.labels, indices=batch.indices, global_size=batch.global_size
        )


@pytest.fixture
def trial(tiny_backbone: Callable[[], Backbone], synthetic_stream: Callable[..., Stream]) -> Callable[..., Trial]:
    """Make a trial of a method with its options."""

    def make(name: str, **options: Any) -> Trial:
        method = methods.build(name, options)
        backbone = tiny_backbone().double()
        model = IncrementalClassifier(backbone, head=method.traits.head, randomness=Randomness(4)).double()
        return Trial(model, method, synthetic_stream(images=4))

    return make
