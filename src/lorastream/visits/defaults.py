"""How a visit is learnt where nothing was said: settings by the amount of data.

The rule, for n training images. What it comes to on photographs, in visits of 3, 8, 1, 5 and 3 classes, is measured by
`benchmarks/visits.py`.

- Batch: 8 below 128 images, 16 below 512, 32 below 4,096, then 64. A small folder needs many steps more than it needs
  smooth gradients: with the papers' 128, forty images would be one step an epoch.
- Epochs: as many as make about 300 optimiser steps, but at least 3 and at most 20. A low-rank update and a few head
  rows settle in some hundred steps, however many images there are; 20 is what SD-LoRA trains, and more than that
  repeats a handful of images until they are known by heart.
- Learning rate: 0.02 at a batch of 32, otherwise by the square root of the batch, as the noise of a step goes: 0.01 at
  8, 0.028 at 64. Optimiser as in SD-LoRA's code: SGD with momentum 0.9.
- Alignment with one shared covariance, for a method with a linear head. Heads taught on separate visits were never
  compared with each other, and a visit of one class teaches nothing by a cross-entropy over that one class: the drawn
  features of the older classes are what it is told from. A covariance for each class would take d² numbers a class
  (2.4 MB on a ViT-B) and could not be estimated from a few images; the shared one takes d numbers a class, and the gate
  measures with the same.

What was said stands: settings that the learner was made with, and those of this visit above all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.recipes.build import training_settings
from lorastream.recipes.schema import laid_over
from lorastream.training.settings import TrainingSettings

STEPS = 300
FEWEST_EPOCHS, MOST_EPOCHS = 3, 20
LR_AT_32 = 0.02
_BATCHES = ((128, 8), (512, 16), (4096, 32))
_LARGEST_BATCH = 64


METHOD = "sd_lora_plus"
"""How a model learns where no method was named."""
TRANSFORMS = {"train": "photo", "test": "squash"}
"""How images are prepared where nothing was said: photographs, cropped a little and mirrored; symbols want `gentle`."""


def by_amount(n_images: int) -> dict[str, Any]:
    """Return epochs, batch size and learning rate for so many training images; see the module.

    Args:
        n_images: at least 1.
    """
    batch = next((size for below, size in _BATCHES if n_images < below), _LARGEST_BATCH)
    epochs = math.ceil(STEPS / math.ceil(n_images / batch))
    return {
        "batch_size": batch,
        "epochs": min(max(epochs, FEWEST_EPOCHS), MOST_EPOCHS),
        "lr": round(LR_AT_32 * math.sqrt(batch / 32), 4),
    }


def settings_for(
    chosen: TrainingSettings,
    model: IncrementalClassifier,
    method: Method,
    n_images: int,
    overrides: Mapping[str, Any],
) -> TrainingSettings:
    """Return how a visit is learnt: what was chosen, the rule for the rest, and what this visit was told over both.

    Args:
        chosen: the learner's settings; those that were given to it are `model_fields_set`.
        model: whether its classes have statistics says whether the head can be aligned.
        method: its head says the same.
        n_images: training images of the visit.
        overrides: settings of this visit by name.

    Raises:
        RecipeError: an override is unknown or out of range; all faults at once.
    """
    rule = by_amount(n_images)
    describable = model.statistics is not None or not model.n_classes
    if method.traits.head == "linear" and describable:
        rule["alignment"] = {"covariance": "shared"}
    open_to_rule = {key: value for key, value in rule.items() if key not in chosen.model_fields_set}
    return training_settings(laid_over(chosen.model_dump() | open_to_rule, overrides), where="learn")


def with_chosen(settings: TrainingSettings, chosen: Iterable[str] | None) -> TrainingSettings:
    """Return settings that know which of them were given, as they were saved; None: all of them."""
    given = set(TrainingSettings.model_fields if chosen is None else chosen)
    return TrainingSettings.model_construct(_fields_set=given, **dict(settings))
