"""Joint training: one LoRA on the images of all classes seen so far; the upper bound, not a way to learn a stream.

It keeps every image, which no other method here may do. With `restart` each task trains a new update and a new head
from the pretrained backbone, so that the last task's figure is what ordinary training on everything at once gives.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class Joint:
    """LoRA on everything seen so far.

    Attributes:
        rank: rank of the update, at least 1.
        targets: the projections that take it.
        restart: begin anew at every task; otherwise train on with the enlarged set.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    restart: bool = True

    @property
    def traits(self) -> Traits:
        """It needs the images of past tasks."""
        return Traits(exemplar_free=False, keeps_past_parameters_fixed=False, starts_where_it_ended=not self.restart)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Begin anew, or go on."""
        adapters = model.adapt(self.targets)
        if self.restart:
            adapters.clear()
            model.head.restart(generator=model.randomness.torch("restarted head", task.index))
        if adapters.ranks:
            adapters.thaw()
        else:
            adapters.grow(self.rank, generator=model.randomness.torch("adapters", task.index))
        model.head.learn(newest_only=False)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over all classes seen."""
        return classification_loss(model, batch, task, "seen_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the update."""
        del task
        model.adapters.freeze()
