"""Sequential LoRA: one low-rank update trained on with every task; what one would write first, and the lower bound.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022 (arXiv 2106.09685), equation 3,
trained on one task after another without protection ("SeqLoRA", "vanilla LoRA" in the papers of SD-LoRA and InfLoRA).

Formula: W = W0 + U D, with D ~ U(-1/√in, 1/√in) and U = 0 at the first task, both learning at every task. There is
no α/r factor: a learning rate says the same.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.methods.losses import Softmax, classification_loss
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class SequentialLoRA:
    """One LoRA for all tasks.

    Attributes:
        rank: rank of the update, at least 1.
        targets: the projections that take it.
        softmax: over all classes seen (what a plain classifier does), or over the task's own only, which keeps the head
            rows of old classes still.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    softmax: Softmax = "seen_classes"

    @property
    def traits(self) -> Traits:
        """The same factors learn at every task."""
        return Traits(keeps_past_parameters_fixed=False)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Let the one update learn again; make it at the first task."""
        adapters = model.adapt(self.targets)
        if adapters.ranks:
            adapters.thaw()
        else:
            adapters.grow(self.rank, generator=model.randomness.torch("adapters", task.index))
        model.head.learn(newest_only=self.softmax == "current_classes")

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the chosen classes."""
        return classification_loss(model, batch, task, self.softmax)

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the update until the next task."""
        del task
        model.adapters.freeze()
