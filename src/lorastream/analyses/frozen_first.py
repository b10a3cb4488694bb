"""The first direction frozen, and only its magnitude learning: is that enough to beat a LoRA that goes on learning?

SD-LoRA (ICLR 2025), Fig. 2b and c, and the first row of Table 4: after task 1 its direction is kept, and at later tasks
only α and the head learn; compared is the average accuracy with that of vanilla LoRA. Both have the cross-entropy over
the task's own classes here, so that they differ in the weights alone, and the run's own training and first tasks.
"""

from __future__ import annotations

from dataclasses import field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from lorastream.analyses.drawing import line, svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.analyses.training_progress import TrainingProgress
from lorastream.data.task import Task
from lorastream.errors import MethodError
from lorastream.learner import Learner
from lorastream.methods.protocol import SETTINGS
from lorastream.methods.sd_lora import SDLoRA
from lorastream.model import IncrementalClassifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "frozen-first"
PUBLISHED = {5: 0.7817, 10: 0.7482}
"""By number of tasks: accuracy after the last one on ImageNet-R, ViT-B/16 (SD-LoRA, Table 4)."""


@dataclass(kw_only=True, config=SETTINGS)
class FrozenFirst(SDLoRA):
    """SD-LoRA whose later tasks bring no direction: α_1 D_1 stays, and of it only the magnitude learns.

    Attributes:
        further: whether a task beyond the first is under way.
    """

    further: bool = field(default=False, init=False)

    def before_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Append an update; beyond the first task one of zeros that does not learn and is dropped afterwards."""
        self.further = bool(model.adapted and model.adapters.ranks)
        super().before_task(model, task)
        if self.further:
            for parameter in model.adapters.parameters():
                parameter.requires_grad = False

    def after_task(self, model: IncrementalClassifier, task: Task) -> None:
        """Freeze the magnitude, and drop the update of zeros."""
        super().after_task(model, task)
        if self.further:
            model.adapters.drop_newest()
            self.magnitudes_ = None if self.magnitudes_ is None else self.magnitudes_[..., :-1]

    def rank_of(self, task: int) -> int:
        """Return the rank of a task's update; an update of zeros needs one."""
        return 1 if self.further else super().rank_of(task)


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Learn the first tasks with the first direction frozen, and with vanilla LoRA; compare with the run itself."""
    run.at_least(2, WHAT)
    sd_lora = _sd_lora(run)
    n_tasks = min(options.tasks or 5, run.n_tasks)
    listen = TrainingProgress(run.progress, total=2 * n_tasks - 1, doing="learning with the first direction frozen")
    frozen, magnitudes = _frozen(run, sd_lora, n_tasks, listen)
    listen.doing = "learning with vanilla LoRA"
    rank, targets = sd_lora.rank_of(0), sd_lora.targets
    vanilla = run.learner("sequential_lora", listen=listen, softmax="current_classes", rank=rank, targets=targets)
    figures: dict[str, Any] = {
        "frozen_first": frozen,
        "vanilla_lora": [_average(vanilla, run, k, learn=True) for k in range(n_tasks)],
        "the_run": [fmean(value or 0.0 for value in row) for row in run.record.accuracy_matrix[:n_tasks]],
        "magnitude": magnitudes,
        "published_imagenet_r": PUBLISHED.get(n_tasks),
    }
    holds = all(a > b for a, b in zip(frozen[1:], figures["vanilla_lora"][1:], strict=True))
    return Analysis(
        what=WHAT,
        title="Only the first direction, its magnitude learning",
        claim="With the first direction frozen and only its magnitude learning, average accuracy is above vanilla "
        "LoRA's after every further task (SD-LoRA, Fig. 2b and c).",
        paragraph=_paragraph(figures, holds),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, figures), width=5.6),
        alt=f"Average accuracy after each of {n_tasks} tasks: first direction frozen, vanilla LoRA, and the run.",
    )


def _sd_lora(run: FinishedRun) -> SDLoRA:
    method = run.learner().method
    if not isinstance(method, SDLoRA):
        raise MethodError(
            f"analysis {WHAT}",
            expected="a run of sd_lora or one of its variants, whose first direction can be kept",
            got=run.record.method,
            next_step="run one: --methods sd_lora",
        )
    return method


def _frozen(
    run: FinishedRun, options: SDLoRA, n_tasks: int, listen: TrainingProgress
) -> tuple[list[float], list[float | None]]:
    """Return average accuracy and magnitude after each task; the first task is the run's own."""
    learner = run.after(1, listen=listen)
    learner.method = FrozenFirst(
        rank=options.rank,
        targets=options.targets,
        norm=options.norm,
        magnitude_init=options.magnitude_init,
        carry_magnitudes=options.carry_magnitudes,
        magnitude_scope=options.magnitude_scope,
    )
    averages, magnitudes = [_average(learner, run, 0, learn=False)], list[float | None]([None])
    for k in range(1, n_tasks):
        averages.append(_average(learner, run, k, learn=True))
        values = learner.method.magnitudes_
        magnitudes.append(None if values is None else float(values.mean()))
    return averages, magnitudes


def _average(learner: Learner, run: FinishedRun, k: int, *, learn: bool) -> float:
    """Return the average accuracy over tasks 0 to k, which is learnt before if asked for."""
    if learn:
        learner.learn(run.stream[k])
    return fmean(learner.evaluate([run.stream[i] for i in range(k + 1)]).accuracy)


def _paragraph(figures: dict[str, Any], holds: bool) -> str:
    frozen, vanilla, own = figures["frozen_first"], figures["vanilla_lora"], figures["the_run"]
    above = sum(a > b for a, b in zip(frozen[1:], vanilla[1:], strict=True))
    published = figures["published_imagenet_r"]
    beside = f" The paper has {100 * published:.1f} % on ImageNet-R with ViT-B/16." if published else ""
    return (
        f"{verdict(holds)}: with the first direction frozen, average accuracy is above vanilla LoRA's after {above} of "
        f"{len(frozen) - 1} further tasks, and ends at {100 * frozen[-1]:.1f} % after {len(frozen)} tasks, vanilla "
        f"LoRA at {100 * vanilla[-1]:.1f} %, the run itself at {100 * own[-1]:.1f} %.{beside}"
    )


def _draw(figure: Figure, figures: dict[str, Any]) -> None:
    panel = figure.subplots()
    labels = {"frozen_first": "first direction frozen", "vanilla_lora": "vanilla LoRA", "the_run": "the run"}
    for number, (key, label) in enumerate(labels.items()):
        values = [100 * value for value in figures[key]]
        line(panel, range(1, len(values) + 1), values, number=number, label=label)
    panel.set_xticks(range(1, len(figures["frozen_first"]) + 1))
    panel.set_xlabel("tasks learnt")
    panel.set_ylabel("average accuracy, %")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
