"""CODA-Prompt: every image's prefix is a weighted sum of components; a task adds some, and the past ones stay.

Source: Smith et al., "CODA-Prompt: COntinual Decomposed Attention-based Prompting for Rehearsal-Free Continual
Learning", CVPR 2023 (arXiv 2211.13218), sections 4.1 to 4.3; code GT-RIPL/CODA-Prompt (22948d2, `models/zoo.py`).
Formula, for each of the first `blocks` blocks, with q(x) the feature of the frozen backbone, and P_m, k_m and a_m
component, key and attention:

    p(x) = sum_m cos(q(x) * a_m, k_m) P_m,    m over the components of all tasks so far, * entry by entry
    the block attends with its queries to [p_K; K] and [p_V; V], p_K and p_V the halves of p
    loss = CE(W f(x), y) over the task's own classes + orthogonality · sum of mean((T T' - 1)²), T = P, k, a of a block

The backbone is frozen; the task's own components, keys and attentions and the new head rows learn. New ones begin at
right angles to the past ones and to one another, as in the code's later commits (this one makes all orthonormal at the
start). Prediction takes two passes, one for the query.

Paper and code differ: the paper has 0.1 for `orthogonality`; the code's scripts have 0, and a factor of 1e-6 on it.

What differs here from the code:

- `queries`: it takes the query of the augmented image, here by default of the plain one: half the passes.
- It has 100 components for a known number of tasks, so 10 a task in ten tasks; here each task brings `components`.
- Where there are more components than directions (past 768 on ViT-B), new keys and attentions begin as random units.
- The optimiser is the recipe's: Adam at 1e-3 with a cosine, 20 epochs, ImageNet-R 50, batches of 128.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Traits
from lorastream.methods.queries import Queries, queries_of, remember
from lorastream.model import IncrementalClassifier
from lorastream.prompts import PromptComponents


@dataclass(kw_only=True, config=SETTINGS)
class CODAPrompt:
    """Prefixes as weighted sums of components.

    Attributes:
        components: how many a task adds, at least 1 (source: 100 over all tasks, 10 a task in ten).
        length: of the keys that are added in a block, and of the values, at least 1 (source: 4, its 8 halved).
        blocks: how many blocks take prefixes, counted from the input, at least 1; of a backbone with fewer all do
            (source: 5).
        orthogonality: weight of what keeps components at right angles, at least 0 (code: 0, paper: 0.1).
        queries: of the image as test images are seen, computed once a task (`plain`), or as it is augmented (code).
    """

    components: Annotated[int, Field(ge=1)] = 10
    length: Annotated[int, Field(ge=1)] = 4
    blocks: Annotated[int, Field(ge=1)] = 5
    orthogonality: Annotated[float, Field(ge=0)] = 0.0
    queries: Queries = "plain"

    @property
    def traits(self) -> Traits:
        """Past components stay; new ones join the sum as the task begins, and no plain backbone can hold them."""
        return Traits(starts_where_it_ended=False, merges_exactly=False, inference_passes=2, prompted=True)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Add components for the task; they and the new head rows learn."""
        blocks = range(min(self.blocks, model.backbone.depth))
        prompts = model.prompt(PromptComponents, lambda like: PromptComponents(blocks, like))
        prompts.grow(self.components, self.length, generator=model.randomness.torch("prompts", task.index))
        model.head.learn(newest_only=True)
        remember(prompts, model, task, self.queries)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes, and what keeps components apart."""
        prompts = model.prompts_as(PromptComponents)
        chosen = prompts(queries_of(prompts, model, batch))
        loss = classification_loss(model, batch, task, "current_classes", prompts=chosen)
        return loss + self.orthogonality * prompts.overlap() if self.orthogonality else loss

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the task's components."""
        del task
        model.prompts_as(PromptComponents).settle()
