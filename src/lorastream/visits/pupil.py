"""Who is taught: what a visit needs to know of a learner."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from lorastream.data.cache import materialise
from lorastream.data.images import Images
from lorastream.data.stream import RoleImages
from lorastream.data.task import TaskImages
from lorastream.data.transforms import Transform
from lorastream.heads import Calibration
from lorastream.methods.protocol import Method, hyper_parameters, learnt_state, load_learnt_state
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness
from lorastream.training.events import Listener, Preparing
from lorastream.training.settings import TrainingSettings


class Pupil(Protocol):
    """What is taught: a `Learner`, seen from below.

    Attributes:
        model: backbone, adapters and head.
        method: how it learns.
        method_name: as `methods.names()` has it.
        training: the settings it was made with.
        transforms: for training and for test images.
        accelerator: device, precision and processes.
        randomness: of everything.
        listen: told of what goes on.
    """

    model: IncrementalClassifier
    method: Method
    method_name: str
    training: TrainingSettings
    transforms: tuple[Transform, Transform]
    accelerator: Accelerator
    randomness: Randomness
    listen: Listener


@dataclass(frozen=True, kw_only=True)
class Memory:
    """All that a pupil has learnt, to go back to in memory.

    Attributes:
        parts: tensors by part, as they are saved.
        classes: the class names of every task.
        state: of the method.
    """

    parts: Mapping[str, dict[str, Tensor]]
    classes: list[list[str]]
    state: dict[str, Tensor]
    calibration: Calibration | None
    trained: bool

    @classmethod
    def of(cls, pupil: Pupil) -> Memory:
        """Copy what the pupil has learnt; the backbone's weights too where the method trains them."""
        model = pupil.model
        parts = {part: tensors for part, tensors in model.tensors().items() if tensors}
        if "backbone" not in parts and not pupil.method.traits.freezes_backbone:
            state = model.backbone.network.state_dict()
            parts["backbone"] = {name: tensor.detach().clone() for name, tensor in state.items()}
        return cls(
            parts=parts,
            classes=copy.deepcopy(model.classes),
            state=learnt_state(pupil.method),
            calibration=model.calibration,
            trained=model.backbone.trained,
        )

    def put_back(self, pupil: Pupil) -> None:
        """Make the pupil what it was; adapters that were attached since stay, empty."""
        model = pupil.model
        model.head = model.head.empty()
        model.statistics, model.prompts = None, None
        if model.adapted:
            model.adapters.scale_by(None)
            model.adapters.clear()
        targets = model.adapted if "adapters" in self.parts else ()
        model.load_tensors(
            self.parts, self.classes, targets=targets, first_blocks=model.first_blocks if targets else None
        )
        model.backbone.trained = self.trained
        model.calibration = self.calibration
        pupil.method = type(pupil.method)(**hyper_parameters(pupil.method))
        load_learnt_state(pupil.method, self.state)


def images_for(
    pupil: Pupil,
    images: Images,
    labels: Sequence[int],
    *,
    transform: Transform,
    cache: Path | None,
) -> TaskImages:
    """Decode images into the cache, and give them the labels that the model has, or will have, for their classes.

    Args:
        pupil: whose visit it is.
        images: of a source, with its own labels.
        labels: for each label of the source the model's.
        transform: of the role.
        cache: folder of decoded images; None for the usual one.
    """
    task = len(pupil.model.task_sizes)
    store = materialise(
        images,
        transform.fixed,
        folder=cache,
        progress=lambda done, total: pupil.listen(Preparing(done=done, total=total)),
    )
    own = np.array([labels[label] for label in images.labels.tolist()], dtype=np.int64)
    role = RoleImages(store=store, labels=own, names=images.names, transform=transform)
    last = int(own.max(initial=0)) + 1
    return role.of_classes(0, last, task=task, randomness=pupil.randomness)
