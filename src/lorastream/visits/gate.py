"""The gate: accuracy on old classes before and after an update, without a stored image.

Measured in one of two ways:

- On samples of the stored feature statistics: features are drawn from the Gaussian of every old class and put through
  the head, the old one among the old classes, the new one among all. The same samples both times. This sees what the
  head does: new rows that draw old classes to themselves, and old rows that alignment moved. **It leaves out the drift
  of the features**: the new update also changes what the backbone makes of an old picture, and no sample of the old
  statistics shows that. A drop measured so is a lower bound of the true one, as a rule.
- On a folder that the user names (`--evaluate-on`): pictures of old classes, through the whole model. This leaves
  nothing out but what the pictures do not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lorastream.data.task import Task, TaskImages
from lorastream.errors import DataError, Fault, RunError, unknown_name
from lorastream.heads import ClassStatistics
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness
from lorastream.training.evaluate import evaluate
from lorastream.visits.material import read
from lorastream.visits.pupil import Pupil, images_for
from lorastream.visits.requirements import Measure, Requirement, Verdict

SAMPLES_PER_CLASS = 200
RIDGE = 1e-4

Accuracies = dict[str, float]
"""Accuracy in [0, 1] by class name."""


class UpdateRefusedError(RunError):
    """An update did not keep what was required of it: a result, not a mistake; the model is as it was.

    Attributes:
        visit: what came out, an `outcome.Visit`.
    """

    def __init__(self, faults: Sequence[Fault], visit: Any) -> None:  # noqa: ANN401 (it stands on a later module)
        self.faults = tuple(faults)
        self.visit = visit
        Exception.__init__(self, str(self))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.faults, self.visit)


def on_statistics(
    model: IncrementalClassifier, statistics: ClassStatistics, names: Sequence[str], randomness: Randomness
) -> Accuracies:
    """Measure the head on features drawn from stored statistics, choosing among all classes that the model knows.

    Args:
        model: whose head is measured.
        statistics: of the old classes, as they were before the update.
        names: of the old classes, by label.
        randomness: the same samples come of the same seed.
    """
    found: Accuracies = {}
    with torch.inference_mode():
        for label, name in enumerate(names):
            generator = randomness.torch("gate", label)
            features = statistics.sample(label, SAMPLES_PER_CLASS, generator=generator, ridge=RIDGE)
            answers = model.head(features.float().to(model.device)).argmax(dim=1)
            found[name] = float((answers == label).double().mean())
    return found


def on_images(pupil: Pupil, images: TaskImages) -> Accuracies:
    """Measure the whole model on images, choosing among all classes; classes without images are left out."""
    if not len(images):
        return {}
    names = tuple(pupil.model.class_names)
    found = evaluate(
        pupil.model,
        pupil.method,
        [Task(index=images.task, class_names=names, first_class=0, train=images, test=images)],
        accelerator=pupil.accelerator,
        batch_size=pupil.training.evaluation_batch_size,
        listen=pupil.listen,
    ).confusion
    return {name: float(found[i, i] / found[i].sum()) for i, name in enumerate(names) if found[i].sum()}


def images_of_known_classes(pupil: Pupil, folder: Path, *, cache: Path | None) -> TaskImages:
    """Return the images of a folder whose class folders are named as classes that the model knows.

    Raises:
        DataError: no such folder, or it has a class that the model does not know.
    """
    material = read(folder, held_out=0.0)
    known = pupil.model.class_names
    faults = [
        unknown_name(f"--evaluate-on {folder}", kind="class that the model knows", got=name, choices=known)
        for name in material.class_names
        if name not in known
    ]
    if faults:
        raise DataError.of(faults)
    labels = [known.index(name) for name in material.class_names]
    return images_for(pupil, material.train, labels, transform=pupil.transforms[1], cache=cache)


def judge(requirements: Sequence[Requirement], shares: Mapping[Measure, float | None]) -> tuple[Verdict, ...]:
    """Hold what was measured, as shares in [-1, 1], against what is required, in percent or points."""

    def verdict(wanted: Requirement) -> Verdict:
        share = shares[wanted.measure]
        value = None if share is None else 100 * share
        return Verdict(requirement=wanted, value=value, holds=value is None or wanted.holds(value))

    return tuple(verdict(wanted) for wanted in requirements)


def mean(accuracies: Accuracies) -> float | None:
    """Return the mean over classes; None of no class."""
    return sum(accuracies.values()) / len(accuracies) if accuracies else None
