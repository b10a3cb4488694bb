"""Prefixes of each task, found again by a classifier of frozen features; with its head aligned it is HiDe-Prompt.

Source: Wang et al., "Hierarchical Decomposition of Prompt-Based Continual Learning: Rethinking Obscured
Sub-optimality", NeurIPS 2023 (arXiv 2310.07234); code thu-ml/HiDe-Prompt, `engines/hide_promtp_wtp_and_tap_engine.py`
(cdf7b54), `engines/hide_tii_engine.py` (7f4678c), `peft/prompt/hide_prompt.py` (ce0e5d1). The paper was read in
abstract, the code in full. Formula, with q(x) the feature of the frozen backbone, p_t the prefixes of task t in the
first `blocks` blocks, e_t those that learn, and m_c the mean feature of old class c (`model.statistics`):

    within a task:   p_t = (1 - α) e_t + α mean of p_1 .. p_{t-1},   e_t begins as p_{t-1};   f = f(x; p_t)
                     loss = CE(W f, y) over the task's own classes
                            + contrast · mean_x log(1 + sum_c exp((f·m_c - f·f) / τ))
    which task:      s(x) = task of argmax_c (V q(x) + b)_c,   V, b learnt after each task on features drawn from a
                     Gaussian of q for every class seen, under the cross-entropy over all of them
    answer           = W f(x; p_s(x))

The backbone is frozen; e_t and the new head rows learn. Prediction takes two passes, one for the query. What HiDe does
to W afterwards, the same on Gaussians of f, is `training.alignment`; the preset `hide_prompt` has it. What describes a
new class there are its features under its own task's prefixes, whichever the classifier would take, as in the code.

What differs from the code:

- There all images of a batch and all old means are held apart from one another, each from all. Here each image from the
  old means alone: what it loses must not depend on who shares its batch. Without alignment nothing is held apart.
- A class is described by one Gaussian, `covariance`; the code's default is ten, of k-means clusters, by variances.
- V learns on what is drawn alone, in one go; the code first learns new rows on the images, in a run of its own, and
  has a hidden layer of twice the width before V and W.
- Prefixes begin in U(-spread, spread), as those of `dual_prompt` do here; in the code in U(-1, 1).
- The optimiser is the recipe's: Adam at 0.03 · 24 / 256, the head at a tenth of it, 50 epochs for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lorastream.data.task import Batch, Task
from lorastream.heads import Alignment, LinearHead, features_by_class, load_statistics, new_statistics
from lorastream.methods.losses import cross_entropy
from lorastream.methods.protocol import SETTINGS, Traits
from lorastream.model import IncrementalClassifier
from lorastream.prompts import Chosen, RoutedPrompts


@dataclass(kw_only=True, config=SETTINGS)
class PromptRouting:
    """Prefixes of each task, and a classifier that says whose an image takes.

    Attributes:
        length: of a task's prefixes, at least 1 (source: 5 for CIFAR-100, 20 for ImageNet-R).
        blocks: how many blocks take them, counted from the input, at least 1; of a backbone with fewer all do
            (source: 5).
        share: α, of the prefixes of earlier tasks in those of a new one, in [0, 1) (source: 0.01).
        contrast: weight of what holds images apart from old means, at least 0 (source: 0.1, ImageNet-R 0.5).
        temperature: τ, above 0 (source: 0.8).
        spread: prefixes begin in U(-spread, spread), above 0 (source: 1).
        go_on: a task's prefixes begin as those of the task before ended (source: True).
        covariance: of the Gaussians of the queries of a class: variances alone (`diagonal`), or `full`.
        router_epochs: in how many epochs V learns, at least 0 (source: 30).
        router_lr: at which rate, above 0, falling as a cosine (source: 0.005 · 24 / 256, after a run on the images).
    """

    length: Annotated[int, Field(ge=1)] = 5
    blocks: Annotated[int, Field(ge=1)] = 5
    share: Annotated[float, Field(ge=0, lt=1)] = 0.01
    contrast: Annotated[float, Field(ge=0)] = 0.1
    temperature: Annotated[float, Field(gt=0)] = 0.8
    spread: Annotated[float, Field(gt=0)] = 0.01
    go_on: bool = True
    covariance: Literal["diagonal", "full"] = "diagonal"
    router_epochs: Annotated[int, Field(ge=0)] = 30
    router_lr: Annotated[float, Field(gt=0)] = 0.01

    @property
    def traits(self) -> Traits:
        """The classifier's old rows learn on after every task, and no plain backbone can hold the prefixes."""
        return Traits(keeps_past_parameters_fixed=False, merges_exactly=False, inference_passes=2, prompted=True)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Add prefixes for the task; they and the new head rows learn."""
        blocks = range(min(self.blocks, model.backbone.depth))
        prompts = model.prompt(RoutedPrompts, lambda like: RoutedPrompts(blocks, like))
        generator = model.randomness.torch("prompts", task.index)
        prompts.grow(self.length, share=self.share, half_width=self.spread, go_on=self.go_on, generator=generator)
        model.head.learn(newest_only=True)

    def loss(self, model: IncrementalClassifier, batch: Batch, task: Task) -> Tensor:
        """Return the cross-entropy over the task's own classes, and what holds features apart from old means."""
        own = Chosen(prefixes=model.prompts_as(RoutedPrompts).newest(len(batch)))
        features = model.features(batch.images, prompts=own)
        logits = model.head(features, since=task.first_class, learning=True)
        loss = cross_entropy(logits, batch, task, "current_classes", margin=model.head.margin)
        if model.statistics is None or not task.first_class or not self.contrast:
            return loss
        means = model.statistics.means[: task.first_class].to(features.device)
        return loss + self.contrast * closeness_to_means(features, means, temperature=self.temperature)

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the task's prefixes, and learn again whose prefixes an image takes."""
        prompts = model.prompts_as(RoutedPrompts)
        prompts.settle()
        known = load_statistics(prompts.described) if prompts.described else new_statistics(self.covariance)
        known.put(task.first_class, features_by_class(model.passes(task.train, features=model.queries), task.classes))
        router = LinearHead(model.backbone.width)
        if task.first_class:
            known_rows = {"weight": prompts.weight.float(), "bias": prompts.bias.float()}
            router.load_tensors(known_rows, [task.first_class])
        generator = model.randomness.torch("router", task.index)
        router.grow(len(task.classes), generator=generator, device=model.device)
        learning = Alignment(epochs=self.router_epochs, lr=self.router_lr, logit_norm="none", mean_scale_first=1.0)
        learning.align(router, known, [known.n_classes], generator=generator)
        prompts.route_by(**router.tensors(), described=known.tensors())


def closeness_to_means(features: Tensor, means: Tensor, *, temperature: float) -> Tensor:
    """Return the mean over images of log(1 + sum_c exp((f·m_c - f·f) / τ)), a scalar, in float32 at least.

    Args:
        features: f, `[n, d]`.
        means: m, `[classes, d]`.
        temperature: τ, above 0.
    """
    with torch.autocast(features.device.type, enabled=False):
        exact = features.to(torch.promote_types(features.dtype, torch.float32))
        apart = (exact @ means.to(exact).mT - exact.square().sum(dim=1, keepdim=True)) / temperature
        return torch.cat([apart.new_zeros(len(apart), 1), apart], dim=1).logsumexp(dim=1).mean()
