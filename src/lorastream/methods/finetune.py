"""Fine-tuning: all weights of the backbone trained on with every task; forgets the most and stores the most.

The lower bound called "Full fine-tuning" in the SD-LoRA paper (Table 2). With `softmax = "current_classes"` and a small
learning rate for the backbone it is the start of SLCA (Zhang et al., ICCV 2023).
"""

from __future__ import annotations

from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.methods.losses import Softmax, classification_loss
from lorastream.methods.protocol import SETTINGS, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class Finetune:
    """All weights learn at every task.

    Attributes:
        softmax: over all classes seen, or over the task's own only.
    """

    softmax: Softmax = "seen_classes"

    @property
    def traits(self) -> Traits:
        """Nothing is kept still."""
        return Traits(freezes_backbone=False, keeps_past_parameters_fixed=False)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Let the backbone and the head learn."""
        del task
        model.backbone.requires_grad_(requires_grad=True)
        model.backbone.trained = True
        model.head.learn(newest_only=self.softmax == "current_classes")

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the chosen classes."""
        return classification_loss(model, batch, task, self.softmax)

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the backbone until the next task."""
        del task
        model.backbone.requires_grad_(requires_grad=False)
