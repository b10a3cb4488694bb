"""Classifier alignment: all rows of a head trained together on features drawn from the classes' Gaussians.

Heads that were trained one task at a time have never been compared with each other. After a task (from the second on)
each epoch draws features of every class seen and descends on their cross-entropy over all classes; only the head moves.

Sources: SLCA (Zhang et al., ICCV 2023, arXiv 2303.05118); InfLoRA's +CA (released code at e08b00e) takes it over.

Formula. With t tasks learnt, c a class of task τ (from 1), z_k the logits of the rows of task k and T the temperature:

    f ~ N(m_c · (β + (1 - β) τ / t), Σ_c + ridge I),    loss = CE(z / (n(z) T), c),    n(z) = 1/t sum_k ‖z_k‖ + 1e-7

so the mean of an old class is shrunk by up to 1 - β (β = 0.9 in both sources) and that of a new one is not.

What is ambiguous, and what is done here:

- n(z): the released codes take the mean over tasks of the norms of each task's logits (`per_task`, the default). They
  compute the norm of all logits together as well and leave it unused; it is `all`, the ordinary logit normalisation.
  The two agree at one task and differ by about √t otherwise, which acts like another temperature. Which of them the
  text of SLCA means we could not establish. `none` is the plain cross-entropy on z, as in InfLoRA's first CIFAR-100
  variant, and has no temperature.
- n is part of the loss: its gradient is taken, as in the codes. So the loss does not change when a sample's logits are
  scaled, and no row can win by length alone. The codes add 1e-7 to each norm, which is the same.
- Whether covariances are ridged when stored or when drawn from is the same to a sample; here they are when drawn from.
- Every epoch draws anew and shuffles. A batch mixes the classes; the last one may be smaller.
- Weight decay is on weights and biases alike, as plain SGD has it. The rate of epoch e of E is lr ½ (1 + cos(π e / E)).

Old head rows change by design, whatever the method promises: its traits speak of the method without alignment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream.heads.described import ClassStatistics
from lorastream.heads.trained import TrainedHead

LogitNorm = Literal["per_task", "all", "none"]
SMALLEST_NORM = 1e-7


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How a head is aligned; the fields are those of `training.alignment`, which checks and describes them.

    Attributes:
        samples_per_class: features drawn of each class in an epoch, at least 1.
        epochs: at least 0.
        batch_size: samples a step, at least 1.
        lr: of the first epoch, above 0.
        momentum: in [0, 1).
        weight_decay: at least 0.
        logit_norm: what the logits are divided by.
        temperature: what normalised logits are divided by, above 0.
        mean_scale_first: β, what the means of the first task's classes tend to be multiplied by, in (0, 1].
        ridge: added to every variance when features are drawn, at least 0.
    """

    samples_per_class: int = 256
    epochs: int = 5
    batch_size: int = 256
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    logit_norm: LogitNorm = "per_task"
    temperature: float = 0.1
    mean_scale_first: float = 0.9
    ridge: float = 1e-4

    def align(
        self, head: TrainedHead, statistics: ClassStatistics, task_sizes: Sequence[int], *, generator: torch.Generator
    ) -> None:
        """Train all rows of a head on features drawn for every class; which rows learn afterwards is as before.

        Args:
            head: of all classes seen.
            statistics: of all classes seen.
            task_sizes: how many of them each task brought.
            generator: a CPU generator; on every device the same features are drawn.
        """
        parameters = list(head.parameters())
        learnt = [parameter.requires_grad for parameter in parameters]
        optimiser = torch.optim.SGD(
            [parameter.requires_grad_() for parameter in parameters],
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        with torch.enable_grad():
            for epoch in range(self.epochs):
                optimiser.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
                features, labels = self.draw(statistics, task_sizes, generator=generator)
                order = torch.randperm(len(labels), generator=generator)
                for chosen in order.split(self.batch_size):
                    logits = head(features[chosen].to(parameters[0]))
                    optimiser.zero_grad()
                    self.loss(logits, labels[chosen].to(logits.device), task_sizes).backward()
                    optimiser.step()
        for parameter, learns in zip(parameters, learnt, strict=True):
            parameter.grad = None
            parameter.requires_grad = learns

    def draw(
        self, statistics: ClassStatistics, task_sizes: Sequence[int], *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the features `[classes · samples_per_class, d]` (float32) and labels of one epoch, class by class."""
        scales = mean_scales(task_sizes, self.mean_scale_first)
        n = self.samples_per_class
        drawn = [
            statistics.sample(label, n, generator=generator, mean_scale=scale, ridge=self.ridge).float()
            for label, scale in enumerate(scales)
        ]
        return torch.cat(drawn), torch.arange(len(scales)).repeat_interleave(n)

    def loss(self, logits: Tensor, labels: Tensor, task_sizes: Sequence[int]) -> Tensor:
        """Return the mean cross-entropy of `logits [n, classes]`, normalised as told, as a scalar."""
        if self.logit_norm == "none":
            return F.cross_entropy(logits, labels)
        # A task whose classes were all forgotten, or that brought none, has no logits to take a norm of.
        sizes = [size for size in task_sizes if size] if self.logit_norm == "per_task" else [logits.shape[1]]
        return F.cross_entropy(logits / (mean_logit_norm(logits, sizes) * self.temperature), labels)


def mean_scales(task_sizes: Sequence[int], first: float) -> list[float]:
    """Return for each class β + (1 - β) τ / t: what its mean is multiplied by when features are drawn.

    Args:
        task_sizes: the number of classes of each of t tasks; a class of the first has τ = 1.
        first: β, in (0, 1].
    """
    n_tasks = len(task_sizes)
    per_task = [first + (1 - first) * (task + 1) / n_tasks for task in range(n_tasks)]
    return [scale for scale, size in zip(per_task, task_sizes, strict=True) for _ in range(size)]


def mean_logit_norm(logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return `[n, 1]`, for each row the mean over groups of columns of their L2 norms, and 1e-7.

    Args:
        logits: `[n, sum(sizes)]`.
        sizes: the number of columns of each group.
    """
    norms = [torch.linalg.vector_norm(own, dim=1, keepdim=True) for own in logits.split(list(sizes), dim=1)]
    return torch.cat(norms, dim=1).mean(dim=1, keepdim=True) + SMALLEST_NORM
