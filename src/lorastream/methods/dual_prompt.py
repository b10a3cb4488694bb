"""DualPrompt: prefixes for each task, found again by the task's key, beside prefixes that all tasks share.

Source: Wang et al., "DualPrompt: Complementary Prompting for Rehearsal-free Continual Learning", ECCV 2022 (arXiv
2204.04799), sections 4.1 to 4.3; code google-research/l2p (3e102b0) and its PyTorch form
JH-LEE-KR/dualprompt-pytorch (0d4e060), of which LAMDA-PILOT's descends. Formula, with q(x) the feature of the frozen
backbone, G the shared prefixes, E_t and k_t prefixes and key of task t:

    a block with prefix (P_K, P_V) attends with its queries to [P_K; K] and [P_V; V]
    G enters the first `shared_blocks` blocks, E_t the `task_blocks` after them
    loss at task t = CE(W f(x; G, E_t), y) over the task's own classes - key_weight · cos(q(x), k_t)
    answer         = W f(x; G, E_s),    s the task whose key has the largest cosine with q(x)

The backbone is frozen; G, E_t, k_t and the new head rows learn. Prediction takes two passes, one for the query.

The sources differ: E_t is 20 long in the authors' code for ImageNet-R, 5 for CIFAR-100 and in PILOT. `key_weight` is 1
in both codes, 0.1 in PILOT (Adam makes them equal: a key learns from nothing else). Numbers begin in U(0, 0.01) in the
authors' code, in U(-1, 1) in PyTorch. The paper adds prefixes to what is projected to keys and values, the codes
to keys and values themselves, as here.

What differs here from all codes:

- `queries`: they take the query of the augmented image, here by default of the plain one: half the passes.
- They choose among the keys of all tasks to come as well; here among those of tasks that were learnt. There is no
  number of tasks to be said beforehand, and the task under way joins the answers when it is settled.
- For CIFAR-100 they let a batch vote at test; here every image chooses alone, as in the authors' code for ImageNet-R.
- The optimiser is the recipe's: Adam at a constant 1e-3 in PILOT, gradients clipped to norm 1, 5 epochs (ImageNet-R:
  10 in PILOT, 50 in the authors' code).
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
from lorastream.prompts import TaskPrompts


@dataclass(kw_only=True, config=SETTINGS)
class DualPrompt:
    """Shared prefixes, and prefixes of each task.

    Attributes:
        shared_length: length of the shared prefixes, at least 1 (source: 5).
        shared_blocks: how many blocks take them, counted from the input, at least 0 (source: 2).
        task_length: length of a task's prefixes, at least 1 (source: 5; ImageNet-R in the authors' code: 20).
        task_blocks: how many blocks after those take a task's prefixes, at least 1 (source: 3). Of a backbone with
            fewer blocks all are used, the last one at least for the task's.
        key_weight: weight of the cosine of query and key, at least 0 (codes: 1, PILOT: 0.1).
        spread: prefixes and keys begin in U(-spread, spread), above 0 (authors' code: 0.01, PyTorch: 1).
        go_on: a task's prefixes begin as those of the task before ended (codes: True).
        queries: of the image as test images are seen, computed once a task (`plain`), or as it is augmented (codes).
    """

    shared_length: Annotated[int, Field(ge=1)] = 5
    shared_blocks: Annotated[int, Field(ge=0)] = 2
    task_length: Annotated[int, Field(ge=1)] = 5
    task_blocks: Annotated[int, Field(ge=1)] = 3
    key_weight: Annotated[float, Field(ge=0)] = 0.1
    spread: Annotated[float, Field(gt=0)] = 0.01
    go_on: bool = True
    queries: Queries = "plain"

    @property
    def traits(self) -> Traits:
        """The shared prefixes learn on at every task, and no plain backbone can hold them."""
        fixed = not self.shared_blocks
        return Traits(keeps_past_parameters_fixed=fixed, merges_exactly=False, inference_passes=2, prompted=True)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Add prefixes and a key for the task; they, what is shared and the new head rows learn."""
        generator = model.randomness.torch("prompts", task.index)
        shared = min(self.shared_blocks, model.backbone.depth - 1)
        last = min(shared + self.task_blocks, model.backbone.depth)
        prompts = model.prompt(
            TaskPrompts,
            lambda like: TaskPrompts.drawn(
                self.shared_length,
                shared_blocks=range(shared),
                task_blocks=range(shared, last),
                half_width=self.spread,
                generator=generator,
                like=like,
            ),
        )
        prompts.grow(self.task_length, half_width=self.spread, go_on=self.go_on, generator=generator)
        model.head.learn(newest_only=True)
        remember(prompts, model, task, self.queries)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes, less what draws the task's key to the queries."""
        prompts = model.prompts_as(TaskPrompts)
        chosen = prompts.of_newest(queries_of(prompts, model, batch))
        loss = classification_loss(model, batch, task, "current_classes", prompts=chosen)
        return loss - self.key_weight * chosen.closeness.mean()

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze all, and let the task's prefixes be chosen by its key."""
        del task
        model.prompts_as(TaskPrompts).settle()
