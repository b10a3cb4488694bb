"""InfLoRA: a new update may only move what the inputs of past tasks do not use.

Source: Liang and Li, "InfLoRA: Interference-Free Low-Rank Adaptation for Continual Learning", CVPR 2024 (arXiv
2404.00228); released code liangyanshuo/InfLoRA at e08b00e, `methods/inflora.py`.

Formula, for every adapted projection at task t, with the inputs' second moment C = (1/n) sum x x':

    W = W0 + sum_{k <= t} U_k D_k,     D_t = row_scale · (the strongest eigenvectors of C outside of M)'

M spans the inputs of past tasks (`linalg.dual_gpm`), so D_t M = 0 and old inputs go through as before. D_t is designed
from one pass over the task's images and does not learn; U_t, from zero, and the new head rows do, under the
cross-entropy over the task's own classes. Afterwards a second pass, with the new weights, lets M grow. The layer's key
and value share one input, and so one D_t. (The paper calls D_t B_t and U_t A_t; the code calls them A and B.)

Paper and code differ; each reading is an option, and the default is the code's (the published thresholds are its):

- `energy`: the code puts C where the paper has the inputs: the strongest directions and the threshold are of C², not C.
- `row_scale`: 1/√3 in the code, the norm that LoRA's own start would give a row; 1 in the paper.
- `augmented_statistics`: the code's two passes see augmented images; the paper's formulas name the task's images.
- `first_task`: the code protects one direction less than GPM's criterion asks for at the first task.
- Finished updates are folded into the weight, as in the paper; the code sums them anew at every step, to the same end.
- The optimiser is the recipe's: Adam in the paper; in the code Adam, and SGD for DomainNet and +CA.

Variants: InfLoRA-b5 is `blocks=5, memory="plain"`; the code's `+CA` methods too have `memory="plain"`.

Not copied from the code: where the first task protects half of the directions or more, it stores their basis as that of
the free ones. It finds parameters by parts of their names, so that `.1` also finds `.10`. Its head starts as
`nn.Linear` does, where all methods here start theirs alike (`heads.linear`), and it asks for tasks of equal size.
"""

from __future__ import annotations

import math
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError
from torch import Tensor

from lorastream.adapters import layer_of
from lorastream.data.task import Batch, Task
from lorastream.linalg import dual_gpm
from lorastream.linalg.dual_gpm import Energy, FirstTask, FreeSpace, Memory
from lorastream.methods.losses import classification_loss
from lorastream.methods.moments import input_moments
from lorastream.methods.protocol import SETTINGS, Projection, Traits
from lorastream.model import IncrementalClassifier


@dataclass(kw_only=True, config=SETTINGS)
class InfLoRA:
    """InfLoRA with every difference between paper and released code as an option.

    Attributes:
        rank: rank of a task's update, at least 1 (source: 10; 30 on DomainNet in the code). Where fewer directions are
            free, the other rows of `down` are zero.
        targets: the projections that take updates (source: key and value).
        blocks: in that many blocks only, counted from the input; None: in all (source: all; InfLoRA-b5: 5).
        threshold: the share of the energy to protect after the first task, above 0, at most 1 (code: 0.98 on
            ImageNet-R, 0.95 on CIFAR-100 and DomainNet).
        last_threshold: what it rises towards over `tasks` tasks, at least `threshold`, at most 1 (source: 1).
        tasks: over how many tasks, at least 1: the length of the stream in the source. Later tasks, for a model may go
            on learning, have the threshold of the last of these; it is below `last_threshold`.
        energy: what of the moment's eigenvalues is the energy (code: squared_eigenvalues, paper: eigenvalues).
        row_scale: norm of a row of `down`, above 0 (code: 1/√3, paper: 1).
        memory: `dual` (DualGPM) stores at most half of a layer's directions, `plain` (GPM) up to all of them; they
            protect the same (source: dual; b5 and CA: plain).
        augmented_statistics: whether the passes see images augmented, as in the first epoch of training before it, and
            as in the second after it (code: True); otherwise as test images are seen.
        first_task: what the first task protects: `below` the threshold (code), or until it is `reached` (GPM, equation
            5, which the paper builds on).
        protected_: for each layer, `[in, k]`, a basis of what is protected.
        free_: for each layer that stores this instead, `[in, k]`, a basis of what is free.
        captured_: for each layer, the share of the last task's energy that is protected, a scalar.
    """

    rank: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("key", "value")
    blocks: Annotated[int, Field(ge=1)] | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.95
    last_threshold: Annotated[float, Field(gt=0, le=1)] = 1.0
    tasks: Annotated[int, Field(ge=1)] = 10
    energy: Energy = "squared_eigenvalues"
    row_scale: Annotated[float, Field(gt=0)] = 1 / math.sqrt(3)
    memory: Literal["dual", "plain"] = "dual"
    augmented_statistics: bool = True
    first_task: FirstTask = "below"
    protected_: dict[str, Tensor] = field(default_factory=dict, init=False)
    free_: dict[str, Tensor] = field(default_factory=dict, init=False)
    captured_: dict[str, Tensor] = field(default_factory=dict, init=False)

    @field_validator("last_threshold")
    @classmethod
    def _check_rises(cls, value: float, info: ValidationInfo) -> float:
        first = info.data.get("threshold", 0.0)
        if value < first:
            raise PydanticCustomError("falls", "at least the threshold of the first task, {first}", {"first": first})
        return value

    @property
    def traits(self) -> Traits:
        """A new update starts at zero, and nothing that is past is touched: the default promises hold."""
        return Traits(rank_policies=("energy", "gated_l1"))

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Design `down` of a new update from the task's images; only its `up` and the new head rows learn."""
        adapters = model.adapt(self.targets, first_blocks=self.blocks)
        for adapter in adapters:
            adapter.check_growth(self.rank)
        spaces = self._free_spaces(model, task, epoch=0)
        downs = {
            name: dual_gpm.design(spaces[layer_of(name)], self.rank, row_scale=self.row_scale)
            for name, _ in adapters.items()
        }
        adapters.grow(self.rank, generator=model.randomness.torch("adapters", task.index), downs=downs)
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes."""
        return classification_loss(model, batch, task, "current_classes")

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Protect what the task's images use with the new weights; fold the update, for it is past."""
        model.adapters.freeze()
        threshold = self._threshold(model)
        for layer, space in self._free_spaces(model, task, epoch=1).items():
            before = self.protection(layer, len(space.directions))
            after = dual_gpm.protect(before, space, threshold, dual=self.memory == "dual", first_task=self.first_task)
            self._keep(layer, after)
            self.captured_[layer] = space.shares.new_tensor(space.captured(after.protected - before.protected))
        model.adapters.fold()

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        """Return the task's threshold and, for each layer, how much is protected, how that is stored, what it holds."""
        layers: dict[str, dict[str, Any]] = {}
        for name, layer in model.adapters.layers.items():
            memory, captured = self.protection(name, layer.in_features), float(self.captured_[name])
            layers[name] = {"mode": memory.mode, "protected": memory.protected, "captured": captured}
        return {"threshold": self._threshold(model), "layers": layers}

    def _threshold(self, model: IncrementalClassifier) -> float:
        task = len(model.task_sizes) - 1
        return dual_gpm.threshold_at(task, n_tasks=self.tasks, first=self.threshold, last=self.last_threshold)

    def _free_spaces(self, model: IncrementalClassifier, task: Task, *, epoch: int) -> dict[str, FreeSpace]:
        """Pass once over the task's images, augmented as in that epoch of training; decompose each layer's inputs."""
        moments = input_moments(model, task, epoch=epoch if self.augmented_statistics else None)
        energies = {layer: dual_gpm.energy(c.double(), self.energy) for layer, c in moments.items()}
        memories = [self.protection(layer, len(one)) for layer, one in energies.items()]
        return dict(zip(energies, dual_gpm.free_spaces(list(energies.values()), memories), strict=True))

    def protection(self, layer: str, width: int) -> Memory:
        """Return what is protected in the inputs of a layer of a width; nothing before its first task is learnt."""
        if layer in self.free_:
            return Memory(basis=self.free_[layer], mode="retain")
        return Memory(basis=self.protected_[layer], mode="remove") if layer in self.protected_ else Memory.empty(width)

    def _keep(self, layer: str, memory: Memory) -> None:
        """Store a basis, in float32 as the moments are gathered; `Memory.frame` makes it orthonormal again."""
        self.protected_.pop(layer, None)
        stored = self.free_ if memory.mode == "retain" else self.protected_
        stored[layer] = memory.basis.float()
