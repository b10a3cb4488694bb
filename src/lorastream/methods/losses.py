"""Losses that several methods share, as plain functions."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.model import IncrementalClassifier
from lorastream.prompts import Chosen

Softmax = Literal["current_classes", "seen_classes"]
"""Over which logits the softmax runs: those of the task's own classes (local cross-entropy), or of all seen so far."""


def classification_loss(
    model: IncrementalClassifier, batch: Batch, task: Task, softmax: Softmax, *, prompts: Chosen | None = None
) -> Tensor:
    """Return `cross_entropy` of a batch; only the logits that the softmax runs over are computed.

    With `prompts`, those enter with the images; without, what the model chooses by itself, if it has any.
    """
    since = task.first_class if softmax == "current_classes" else 0
    logits = model(batch.images, since=since, learning=True, prompts=prompts)
    return cross_entropy(logits, batch, task, softmax, margin=model.head.margin)


def cross_entropy(logits: Tensor, batch: Batch, task: Task, softmax: Softmax, *, margin: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of `logits [n, classes seen]`, or of their last ones, in float32 at least.

    With `current_classes` only the columns of the task's own classes take part and the labels are shifted by the number
    of classes known before, as in the released code of SD-LoRA (commit 8bacded, `models/sdlora.py`) and InfLoRA
    (commit e08b00e, `methods/inflora.py`): the rows of older classes get no gradient.

    Args:
        logits: of the model, of all classes seen or of the task's own.
        batch: whose labels count.
        task: that is being learnt.
        softmax: over which logits.
        margin: taken off the logit of each image's own class, at least 0; see `heads.cosine`.
    """
    first = task.first_class if softmax == "current_classes" else 0
    exact = logits[:, first - task.n_classes_seen :].to(torch.promote_types(logits.dtype, torch.float32))
    labels = batch.labels - first
    if margin:
        exact = exact - margin * F.one_hot(labels, exact.shape[1])
    return F.cross_entropy(exact, labels)
