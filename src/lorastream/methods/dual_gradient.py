"""Dual gradient: a LoRA for every task, which learns half along what the pretrained network makes of the task's images.

Source: "DGS: Dual Gradient and Semantic-Shift Guided Low-Rank Adaptation for Class Incremental Learning", CVPR 2026;
its code was not public, and a summary by others was read, not the paper. DGS itself is the preset `dgs`: this, patch
tokens that are held, means that follow drift, and heads that are aligned. Formula, for every adapted projection at
task t:

    W = W0 + sum_{k <= t} U_k D_k
    dL/dD_t  <-  (1 - a) dL/dD_t + a (dL/dD_t) P P'

P `[in, k]` are the strongest eigenvectors of C = (1/n) sum x x', with x what the task's images give the layer in the
pretrained network, without any update. U_t (from 0), D_t and the new head rows learn, these under the cross-entropy
over the task's own classes. P comes from the task's images alone, so nothing of it is kept. (The summary calls D_t A_t
and U_t B_t.)

What the summary leaves open, and is ours: k is the fewest directions that hold `share` of C's trace; the images are as
test images are seen; and of the two factors it is D_t whose gradient is projected, for it alone reads the layer's
inputs. Past updates are folded into the weight.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.adapters import layer_of
from lorastream.data.task import Batch, Task
from lorastream.linalg.energy import strongest_directions
from lorastream.methods.losses import classification_loss
from lorastream.methods.moments import input_moments
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class DualGradient:
    """A sum of LoRAs, whose gradients lean towards what the pretrained network reads.

    Attributes:
        rank: rank of a task's update, at least 1 (source: 32).
        targets: the projections that take updates.
        projected: a, the share of the gradient that is projected, 0 to 1 (source: 0.5); 0: a plain sum of LoRAs.
        share: of the energy of the inputs that P holds, above 0, at most 1.
    """

    rank: Annotated[int, Field(ge=1)] = 32
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("query", "value")
    projected: Annotated[float, Field(ge=0, le=1)] = 0.5
    share: Annotated[float, Field(gt=0, le=1)] = 0.95

    def __post_init__(self) -> None:
        """There are no directions before a task begins."""
        self._directions: dict[str, Tensor] = {}

    @property
    def traits(self) -> Traits:
        """Past updates and head rows stay as they are, and a new update begins as zero."""
        return Traits()

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """See what the pretrained network makes of the task's images, and append a live update to every projection."""
        adapters = model.adapt(self.targets)
        self._directions = self._strongest(model, task) if self.projected else {}
        adapters.grow(self.rank, generator=model.randomness.torch("adapters", task.index))
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes."""
        return classification_loss(model, batch, task, "current_classes")

    def after_backward(self, model: IncrementalClassifier, task: Task) -> None:
        """Let the gradient of `down` lean towards the strongest directions of its layer's inputs."""
        del task
        for name, adapter in model.adapters.items():
            gradient = None if adapter.down is None else adapter.down.grad
            basis = self._directions.get(layer_of(name))
            if gradient is not None and basis is not None:
                gradient.lerp_(gradient @ basis @ basis.mT, self.projected)

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Fold the update, for it is past."""
        del task
        self._directions = {}
        model.adapters.freeze()
        model.adapters.fold()

    def _strongest(self, model: IncrementalClassifier, task: Task) -> dict[str, Tensor]:
        """Return for each adapted layer P `[in, k]`, of one pass over the task's images without any update."""
        with model.adapters.left_out():
            moments = input_moments(model, task)
        layers = model.adapters.layers
        return {name: strongest_directions(c, self.share).to(layers[name].base.weight) for name, c in moments.items()}
