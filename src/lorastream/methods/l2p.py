"""L2P: a pool of prompts that all tasks share, of which every image takes those whose keys are nearest to it.

Source: Wang et al., "Learning to Prompt for Continual Learning", CVPR 2022 (arXiv 2112.08654), sections 4.1 and 4.2;
code google-research/l2p (3e102b0) and its PyTorch form JH-LEE-KR/l2p-pytorch, of which LAMDA-PILOT's and with it most
published comparisons descend. Formula, with q(x) the feature of the frozen backbone, k_i and P_i key and prompt of the
pool, and N(x) the `top_k` keys of largest cosine with q(x):

    f(x) = mean of what becomes of the tokens P_i, i in N(x), of the backbone on (x, P_i, i in N(x))
    loss = CE(W f(x), y) over the task's own classes - key_weight · sum_{i in N(x)} cos(q(x), k_i)

The backbone is frozen; pool, keys and the new head rows learn. Prediction takes two passes, one for the query.

The sources differ: the paper has 10 prompts of length 5, of which 5 are taken, and so has PILOT; the authors' code has
length 10 and takes 4. `key_weight` is 0.1 in PyTorch and 1 in the authors' code (Adam makes them equal: a key learns
from nothing else). Numbers begin in U(0, 0.01) in the authors' code, in U(-1, 1) in PyTorch, where at the same rate it
takes a hundred times as many steps to turn a prompt. Prompts bear no position, as in the authors' code; in PyTorch
they have some, stretched from the checkpoint's.

What differs here from all codes:

- They let the batch vote, so that all its images take the same prompts, at test too; here every image chooses alone.
- `queries`: they take the query of the augmented image, here by default of the plain one: half the passes.
- The optimiser is the recipe's: Adam at a constant 1.875e-3 (0.03 · 16 / 256), gradients clipped to norm 1, 5 epochs.
- The paper's weighting of prompts by how often they were taken, an option there, is left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.methods.losses import classification_loss
from lorastream.methods.protocol import SETTINGS, Traits
from lorastream.methods.queries import Queries, queries_of, remember
from lorastream.model import IncrementalClassifier
from lorastream.prompts import PromptPool


@dataclass(kw_only=True, config=SETTINGS)
class L2P:
    """A shared pool of prompts.

    Attributes:
        pool: how many prompts there are, at least 1 (source: 10).
        length: tokens of a prompt, at least 1 (paper: 5, authors' code: 10).
        top_k: how many of them go with an image, from 1 to `pool` (paper: 5, authors' code: 4).
        key_weight: weight of the cosines of query and chosen keys, at least 0 (PyTorch: 0.1, authors' code: 1).
        spread: prompts and keys begin in U(-spread, spread), above 0 (authors' code: 0.01, PyTorch: 1).
        answer_from: the features are the mean of what became of the `prompts` (source), or the `class_token`.
        queries: of the image as test images are seen, computed once a task (`plain`), or as it is augmented (codes).
    """

    pool: Annotated[int, Field(ge=1)] = 10
    length: Annotated[int, Field(ge=1)] = 5
    top_k: Annotated[int, Field(ge=1, validate_default=True)] = 5
    key_weight: Annotated[float, Field(ge=0)] = 0.1
    spread: Annotated[float, Field(gt=0)] = 0.01
    answer_from: Literal["prompts", "class_token"] = "prompts"
    queries: Queries = "plain"

    @field_validator("top_k")
    @classmethod
    def _check_there_are_so_many(cls, value: int, info: ValidationInfo) -> int:
        pool = info.data.get("pool", value)
        if value > pool:
            raise PydanticCustomError("too many", "at most the number of prompts in the pool, {pool}", {"pool": pool})
        return value

    @property
    def traits(self) -> Traits:
        """The pool learns on at every task, and no plain backbone can hold it."""
        return Traits(keeps_past_parameters_fixed=False, merges_exactly=False, inference_passes=2, prompted=True)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Let pool and new head rows learn; draw the pool at the first task."""
        generator = model.randomness.torch("prompts", task.index)
        pool = model.prompt(
            PromptPool,
            lambda like: PromptPool.drawn(
                self.pool,
                self.length,
                top_k=self.top_k,
                half_width=self.spread,
                generator=generator,
                like=like,
                read=self.answer_from,
            ),
        )
        pool.learn()
        model.head.learn(newest_only=True)
        remember(pool, model, task, self.queries)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes, less what draws the chosen keys to the queries."""
        pool = model.prompts_as(PromptPool)
        chosen = pool(queries_of(pool, model, batch))
        loss = classification_loss(model, batch, task, "current_classes", prompts=chosen)
        return loss - self.key_weight * chosen.closeness.mean()

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the pool until the next task."""
        del task
        model.prompts_as(PromptPool).settle()
