"""The one loop: a model, a method and a task in; the model knows the task afterwards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from lorastream.data.task import Task
from lorastream.heads import TrainedHead
from lorastream.methods.protocol import Method, learnt_parameters, learnt_state
from lorastream.model import IncrementalClassifier
from lorastream.training.descent import Descent
from lorastream.training.device import peak_memory_bytes, reset_peak_memory
from lorastream.training.events import EpochDone, Listener, TaskLearnt, nobody
from lorastream.training.hooks import hook
from lorastream.training.penalties import penalties_of
from lorastream.training.prepare import features_before, start_rows
from lorastream.training.ranks import ranks_of
from lorastream.training.requirements import check_compiler, check_described, check_head_kept, check_ranks
from lorastream.training.resume import Keeper
from lorastream.training.settings import TrainingSettings
from lorastream.training.settle import align, features_after, settle


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What learning one task took.

    Attributes:
        seconds: wall time of the whole task.
        step_milliseconds: median wall time of an optimiser step, the input included; None where there were none.
        peak_memory_bytes: the most memory used.
        trainable_parameters: numbers that learnt.
        stored_bytes: what the model and what the method has learnt now add to the backbone on disk.
        epochs: one entry an epoch.
        figures: what the method reports.
        notes: what happened meanwhile and should be known: batches left out, batches cut smaller.
    """

    seconds: float
    step_milliseconds: float | None
    peak_memory_bytes: int
    trainable_parameters: int
    stored_bytes: int
    epochs: tuple[EpochDone, ...]
    figures: dict[str, Any]
    notes: tuple[str, ...] = ()


def learn(
    model: IncrementalClassifier,
    method: Method,
    task: Task,
    settings: TrainingSettings,
    *,
    accelerator: Accelerator,
    listen: Listener = nobody,
    again: Mapping[str, str] | None = None,
    keeper: Keeper | None = None,
) -> Learnt:
    """Teach a model one task.

    Args:
        model: on the accelerator's device; it must not know the task's classes yet.
        method: how.
        task: its classes and images; for a method that is not exemplar-free, those of all tasks so far.
        settings: optimiser, epochs, batches.
        accelerator: device, precision and processes.
        listen: told of every step.
        again: for the last classes of the task that are known ones: their name in the task, and the one they are known
            by. Their row begins as the known one (unless rows begin at class means), learns with the task's others, and
            takes its place; see `settle`.
        keeper: keeps what the task comes to, and gives what it had come to when it was stopped; None: nothing is kept.

    Raises:
        RunError: the loss is not finite, or memory does not suffice for one image at a time.
        DataError: a class is known already.
        RecipeError: the head is to be aligned and cannot be, the method's ranks are not to be chosen, or there is no
            compiler where one is asked for.
    """
    begun = time.perf_counter()
    check_head_kept(settings, model)
    check_ranks(settings, method, type(method).__name__)
    if settings.alignment is not None:
        check_described(model, task)
    reset_peak_memory(model.device)
    model.autocast = accelerator.autocast
    if settings.compile:
        check_compiler(model.device)
        model.compile_training()
    model.grow(task.class_names[model.n_classes - task.first_class :])
    labels = {model.class_names.index(name): model.class_names.index(known) for name, known in (again or {}).items()}
    if isinstance(model.head, TrainedHead):
        for row, known in labels.items():
            model.head.copy_row(known, row)
    before = features_before(model, task, settings)
    penalties = penalties_of(model, method, task, settings.penalties, before)
    method.before_task(model, task)
    start_rows(model, task, settings)
    ranks = ranks_of(model, settings.ranks)
    descent = Descent(model, method, task, settings, accelerator, listen, keeper, penalties, ranks)
    learning = 0
    if not method.traits.gradient_free and settings.epochs:
        learning = sum(p.numel() for p in [*model.learning(), *learnt_parameters(method)])
    if learning:
        with penalties or nullcontext():
            descent.run()
    if ranks is not None:
        ranks.settle()
    method.after_task(model, task)
    if ranks is not None:
        ranks.delete()
    features = features_after(model, task, settings)
    settle(model, task, labels, features)
    figures: dict[str, Any] = {}
    if settings.alignment is not None:
        own = features[: len(features) - len(labels)]
        figures = align(model, task, settings.alignment, own, before=before)
    seconds = descent.progress.seconds + time.perf_counter() - begun
    listen(TaskLearnt(task=task.index, seconds=seconds))
    return Learnt(
        seconds=seconds,
        step_milliseconds=1000 * statistics.median(descent.seconds) if descent.seconds else None,
        peak_memory_bytes=peak_memory_bytes(model.device),
        trainable_parameters=learning,
        stored_bytes=model.stored_bytes() + sum(t.nbytes for t in learnt_state(method).values()),
        epochs=tuple(descent.progress.epochs),
        figures={**hook(method, "figures")(model), **figures, **(ranks.figures() if ranks else {})},
        notes=tuple(descent.progress.notes),
    )
