"""Small things that most tests need: a tiny random backbone, synthetic tasks, a method on trial, a throw-away cache."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ACCELERATE_USE_CPU", "true")
sys.path.append(str(Path(__file__).parent))

import pytest
import torch
from hypothesis import settings
from torch import Tensor

import tiny
from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.sources import load
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.task import Batch, Task
from lorastream.data.transforms import TransformConfig, build_transforms
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness

settings.register_profile("lorastream", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("lorastream")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is in the background of a shell, where tests that send themselves Ctrl-C would wait for nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the cache of whoever runs it."""
    monkeypatch.setenv("LORASTREAM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny products are fastest, and the same everywhere, on one thread."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_backbone() -> Callable[..., Backbone]:
    """Make a backbone of two blocks, width 32, the same random weights every time."""
    return tiny.backbone


@pytest.fixture
def synthetic_stream(tmp_path: Path) -> Callable[..., Stream]:
    """Make a stream of synthetic classes for the tiny backbone."""

    def make(*, tasks: int = 3, classes_per_task: int = 2, images: int = 12, seed: int = 0) -> Stream:
        dataset = load("synthetic", n_classes=tasks * classes_per_task, images_per_class=images, size=tiny.SIZE)
        return Stream.of(
            dataset,
            config=StreamConfig(tasks=tasks, order="natural"),
            seed=seed,
            transforms=build_transforms(tiny.SPEC, TransformConfig(train="gentle")),
            cache=tmp_path / "cache",
        )

    return make


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
