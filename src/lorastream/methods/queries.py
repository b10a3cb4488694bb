"""What the prompts of a training image are chosen by: its feature of the frozen backbone, which no learning changes.

So the queries of a task's images are computed once, in one pass over them as test images are seen, and a training step
takes one pass of the backbone. The released codes ask for the query of the augmented image, at every step in a pass of
its own; that is `augmented`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lorastream import processes
from lorastream.data.task import Batch, Task
from lorastream.model import IncrementalClassifier
from lorastream.prompts import Prompts

Queries = Literal["plain", "augmented"]
"""Of what the query is: of the image as test images are seen, once; or as the step sees it, every time (codes)."""


def remember(prompts: Prompts, model: IncrementalClassifier, task: Task, queries: Queries) -> None:
    """Keep the queries of a task's images until it is settled, where they are of the plain images."""
    if queries == "augmented":
        return
    pairs = list(model.passes(task.train, features=model.queries))
    rows = torch.cat([found.to(torch.promote_types(found.dtype, torch.float32)) for _, found in pairs])
    prompts.remembered = processes.gathered(rows, torch.cat([batch.indices for batch, _ in pairs]))


def queries_of(prompts: Prompts, model: IncrementalClassifier, batch: Batch) -> Tensor:
    """Return `[n, width]`: what is remembered of a batch's images, or else what a pass finds in them now."""
    if prompts.remembered is None:
        return model.queries(batch.images)
    return prompts.remembered[batch.indices]
