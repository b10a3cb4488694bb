"""How near to each other weights end that learnt one task each, from the same start.

SD-LoRA (ICLR 2025), Fig. 2a: R_ij = ‖W_i - W_j‖ / ‖W_i - W0‖, "much smaller than one" off the diagonal. The paper
fine-tunes all weights; here each task has one LoRA on the run's projections with the recipe's training, and all LoRAs
and heads begin with the same numbers. Two random updates of equal norm are √2 apart in this measure, with the same
start as well, for `up` begins as zero; such a pair is drawn and measured besides, as the control.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lorastream.adapters import Adapters
from lorastream.analyses.drawing import heat_map, svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.analyses.training_progress import TrainingProgress
from lorastream.data.task import Task, TaskImages
from lorastream.linalg.least_squares import product_gram
from lorastream.randomness import Randomness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "closeness"
MUCH_SMALLER = 0.5
"""What we read the paper's "much smaller than one" as."""
LEARNT = 0.5
"""The accuracy on its own task from which weights count as having learnt it."""
Factors = list[tuple[Tensor, Tensor]]
"""One update: `(up [out, r], down [r, in])` of every projection."""


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Let one LoRA learn each of the first tasks by itself, and measure how far apart they end."""
    run.at_least(2, WHAT)
    n_tasks = min(options.tasks or 5, run.n_tasks)
    listen = TrainingProgress(run.progress, total=n_tasks, doing="learning each task by itself")
    updates: list[Factors] = []
    accuracies: list[float] = []
    for k in range(n_tasks):
        task = alone(run.stream[k])
        learner = run.learner("sequential_lora", listen=listen, softmax="current_classes", **_where(run))
        learner.learn(task)
        accuracies += learner.evaluate([task]).accuracy
        updates.append(factors_of(learner.model.adapters))
    control = relative_distances(gram_of(random_updates(updates, Randomness(run.recipe.seed))))
    drawn = fmean(value for i, row in enumerate(control) for j, value in enumerate(row) if i != j)
    return concluded(relative_distances(gram_of(updates)), drawn, accuracies)


def concluded(relative: list[list[float]], drawn: float, accuracies: list[float]) -> Analysis:
    """Return what the distances of the tasks' weights say; a task that was hardly learnt has no say.

    Args:
        relative: `[tasks][tasks]`.
        drawn: the mean of the same of random updates.
        accuracies: of each task's weights on its own test images, 0 to 1.
    """
    learnt = [k for k, accuracy in enumerate(accuracies) if accuracy >= LEARNT]
    off = [relative[i][j] for i in learnt for j in learnt if i != j]
    figures: dict[str, Any] = {
        "relative_distance": relative,
        "learnt": [k + 1 for k in learnt],
        "mean": fmean(off) if off else None,
        "smallest": min(off, default=None),
        "largest": max(off, default=None),
        "random_control_mean": drawn,
        "own_accuracy": accuracies,
    }
    holds = max(off) < MUCH_SMALLER if off else None
    return Analysis(
        what=WHAT,
        title="Distances of weights that learnt one task each",
        claim="Weights fine-tuned on different tasks from one start are much nearer to each other than to the start "
        "(SD-LoRA, Fig. 2a).",
        paragraph=_paragraph(figures, holds),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, relative), width=4.6, height=4.2),
        alt="Relative distances of the weights of each two tasks: "
        + "; ".join(", ".join(f"{value:.2f}" for value in row) for row in relative)
        + f". Random updates are {drawn:.2f} apart.",
    )


def alone(task: Task) -> Task:
    """Return a task as if it were the first one: its labels count from 0."""

    def moved(images: TaskImages) -> TaskImages:
        return replace(images, labels=images.labels - task.first_class)

    return replace(task, index=0, first_class=0, train=moved(task.train), test=moved(task.test))


def factors_of(adapters: Adapters) -> Factors:
    """Return the newest update of every projection, as what is added to the weight."""
    found: Factors = []
    for adapter in adapters:
        *_, (up, down) = adapter.factors()
        found.append((up * adapter.column_scale()[-len(down) :], down.clone()))
    return found


def gram_of(updates: Sequence[Factors]) -> Tensor:
    """Return `[n, n]`, the inner products of updates over all projections, through r x r products only."""
    total = torch.zeros(len(updates), len(updates), dtype=torch.float64)
    for position in range(len(updates[0])):
        ups, downs = zip(*(update[position] for update in updates), strict=True)
        block = torch.cat([torch.full((len(down),), k) for k, down in enumerate(downs)])
        total += product_gram(torch.cat(ups, dim=1).cpu(), torch.cat(downs).cpu(), block, len(updates))
    return total


def relative_distances(gram: Tensor) -> list[list[float]]:
    """Return R_ij = ‖v_i - v_j‖ / ‖v_i‖ from the inner products `[n, n]` of n vectors."""
    squares = gram.diagonal()
    apart = (squares[:, None] + squares - 2 * gram).clamp(min=0.0).sqrt()
    return (apart / squares.sqrt()[:, None]).fill_diagonal_(0.0).tolist()


def random_updates(updates: Sequence[Factors], randomness: Randomness) -> list[Factors]:
    """Return updates with the same `down` and a random `up`, each as long as the one that it stands for."""
    drawn: list[Factors] = []
    for k, update in enumerate(updates):
        generator = randomness.torch("closeness", k)
        ups = [torch.randn(up.shape, generator=generator) for up, _ in update]
        new = [(up, down.cpu()) for up, (_, down) in zip(ups, update, strict=True)]
        length = math.sqrt(float(gram_of([update])[0, 0] / gram_of([new])[0, 0]))
        drawn.append([(up * length, down) for up, down in new])
    return drawn


def _where(run: FinishedRun) -> dict[str, Any]:
    """Return rank and projections of the LoRAs: the run's own where its method has them."""
    own = run.record.hyper_parameters or run.recipe.method.hyperparameters
    rank, targets = own.get("rank"), own.get("targets")
    first: Any = rank[0] if isinstance(rank, list) and rank else rank
    return ({"rank": first} if first else {}) | ({"targets": targets} if targets else {})


def _paragraph(figures: dict[str, Any], holds: bool | None) -> str:
    accuracies = ", ".join(f"{100 * accuracy:.0f}" for accuracy in figures["own_accuracy"])
    if holds is None:
        return (
            f"This run cannot tell: trained alone, the tasks reach {accuracies} % on their own test images, and fewer "
            f"than two of them {100 * LEARNT:.0f} %."
        )
    is_part = not holds and figures["largest"] < 1
    part = " in full, but each two are nearer to each other than to the start" if is_part else ""
    missing = len(figures["own_accuracy"]) - len(figures["learnt"])
    left_out = f"; {missing} below {100 * LEARNT:.0f} % left out" if missing else ""
    return (
        f"{verdict(holds)}{part}: the relative distances of the weights of {len(figures['learnt'])} tasks are "
        f"{figures['smallest']:.2f} to {figures['largest']:.2f}, {figures['mean']:.2f} on average; random updates of "
        f"the same lengths are {figures['random_control_mean']:.2f} apart. Much smaller than one is read as below "
        f"{MUCH_SMALLER}. On their own test images the tasks reach {accuracies} %{left_out}. The paper fine-tunes all "
        "weights; here it is one LoRA a task, all with the same start."
    )


def _draw(figure: Figure, relative: list[list[float]]) -> None:
    panel = figure.subplots()
    names = [str(k + 1) for k in range(len(relative))]
    rows = [[None if i == j else value for j, value in enumerate(row)] for i, row in enumerate(relative)]
    heat_map(panel, rows, names=names, largest=math.sqrt(2))
    panel.set_xlabel("task j")
    panel.set_ylabel("task i")
    panel.set_title("distance of i and j, over that of i and the start\n(random updates: 1.41)", fontsize=10)
