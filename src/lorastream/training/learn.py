"""The one loop: a model, a method and a task in; the model knows the task afterwards."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lorastream.data.task import Batch, Task
from lorastream.errors import RunError
from lorastream.heads import Alignment, LinearHead, features_by_class, new_statistics
from lorastream.methods.protocol import Method, learnt_parameters, learnt_state
from lorastream.model import IncrementalClassifier
from lorastream.training.device import peak_memory_bytes, preparing_threads, reset_peak_memory, total
from lorastream.training.events import EpochDone, Listener, StepDone, TaskLearnt, TaskStarted, nobody
from lorastream.training.hooks import hook, parameter_groups
from lorastream.training.optimiser import build_optimiser, lr_factor, set_lr
from lorastream.training.requirements import check_compiler, check_described
from lorastream.training.settings import AlignmentSettings, TrainingSettings

SECONDS_BETWEEN_REPORTS = 0.2


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
    """

    seconds: float
    step_milliseconds: float | None
    peak_memory_bytes: int
    trainable_parameters: int
    stored_bytes: int
    epochs: tuple[EpochDone, ...]
    figures: dict[str, Any]


def learn(
    model: IncrementalClassifier,
    method: Method,
    task: Task,
    settings: TrainingSettings,
    *,
    accelerator: Accelerator,
    listen: Listener = nobody,
    again: Mapping[str, str] | None = None,
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
            by. Their row begins as the known one, learns with the task's others, and takes its place; see `_settle`.

    Raises:
        RunError: the loss is not finite.
        DataError: a class is known already.
        RecipeError: the head is to be aligned and cannot be, or there is no compiler where one is asked for.
    """
    begun = time.perf_counter()
    if settings.alignment is not None:
        check_described(model, task)
    reset_peak_memory(model.device)
    model.autocast = accelerator.autocast
    if settings.compile:
        check_compiler(model.device)
        model.compile_training()
    model.grow(task.class_names[model.n_classes - task.first_class :])
    labels = {model.class_names.index(name): model.class_names.index(known) for name, known in (again or {}).items()}
    if isinstance(model.head, LinearHead):
        for row, known in labels.items():
            model.head.copy_row(known, row)
    method.before_task(model, task)
    descent = _Descent(model, method, task, settings, accelerator, listen)
    learning = 0
    if not method.traits.gradient_free and settings.epochs:
        learning = sum(p.numel() for p in [*model.learning(), *learnt_parameters(method)])
        descent.run()
    method.after_task(model, task)
    features = features_by_class(model.passes(task.train), task.classes) if settings.alignment is not None else []
    _settle(model, task, labels, features)
    if settings.alignment is not None:
        _align(model, task, settings.alignment, features[: len(features) - len(labels)])
    seconds = time.perf_counter() - begun
    listen(TaskLearnt(task=task.index, seconds=seconds))
    return Learnt(
        seconds=seconds,
        step_milliseconds=1000 * statistics.median(descent.seconds) if descent.seconds else None,
        peak_memory_bytes=peak_memory_bytes(model.device),
        trainable_parameters=learning,
        stored_bytes=model.stored_bytes() + sum(t.nbytes for t in learnt_state(method).values()),
        epochs=tuple(descent.epochs),
        figures=hook(method, "figures")(model),
    )


def _settle(model: IncrementalClassifier, task: Task, labels: Mapping[int, int], features: Sequence[Tensor]) -> None:
    """Let the rows of classes that were known take the place of the rows they had, and the task have the others only.

    The head is aligned after that: two rows of one class would be trained against each other.
    """
    for row, known in reversed(list(labels.items())):
        if isinstance(model.head, LinearHead):
            model.head.copy_row(row, known)
        if model.statistics is not None and features:
            model.statistics.merge(known, features[row - task.first_class])
        model.forget(row)


def _align(model: IncrementalClassifier, task: Task, settings: AlignmentSettings, features: Sequence[Tensor]) -> None:
    """Describe the new classes by the features of their plain images; from the second task on, align the head."""
    model.statistics = model.statistics or new_statistics(settings.covariance)
    if features:
        model.statistics.put(task.first_class, features)
    if len(model.task_sizes) > 1 and isinstance(model.head, LinearHead):
        alignment = Alignment(**settings.model_dump(exclude={"covariance"}))
        generator = model.randomness.torch("alignment", task.index)
        alignment.align(model.head, model.statistics, model.task_sizes, generator=generator)


class _Running:
    """Sums over an epoch, kept on the device so that reading them does not hold it up."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        self.reported = time.perf_counter()

    def add(self, loss: Tensor, correct: Tensor, n: int) -> None:
        """Add the mean loss of `n` images and how many of them were right."""
        self.sums += torch.stack([loss.detach().double() * n, correct.double(), correct.new_tensor(n).double()])

    def due(self) -> bool:
        """Whether it is time to report again."""
        now = time.perf_counter()
        due = now - self.reported > SECONDS_BETWEEN_REPORTS
        self.reported = now if due else self.reported
        return due

    def means(self, accelerator: Accelerator) -> tuple[float, float]:
        """Return the mean loss and the accuracy over the images of all processes."""
        loss, correct, images = total(accelerator, self.sums.clone()).tolist()
        return loss / images, correct / images


class _Descent:
    """The epochs and steps of one task."""

    def __init__(
        self,
        model: IncrementalClassifier,
        method: Method,
        task: Task,
        settings: TrainingSettings,
        accelerator: Accelerator,
        listen: Listener,
    ) -> None:
        self.model, self.method, self.task = model, method, task
        self.settings, self.accelerator, self.listen = settings, accelerator, listen
        self.steps_per_epoch = task.train.n_batches(settings.batch_size)
        self.epochs: list[EpochDone] = []
        self.seconds: list[float] = []

    def run(self) -> None:
        """Train for all epochs."""
        groups = parameter_groups(self.method, self.model, self.settings)
        self.parameters: list[Tensor] = [p for group in groups for p in group["params"]]
        self.optimiser = self.accelerator.prepare(build_optimiser(groups, self.settings))
        self.listen(
            TaskStarted(
                task=self.task.index,
                class_names=self.task.class_names,
                epochs=self.settings.epochs,
                steps_per_epoch=self.steps_per_epoch,
            )
        )
        watch = self.model.head.register_forward_hook(self._keep_logits)
        try:
            for epoch in range(self.settings.epochs):
                self.epochs.append(self._epoch(epoch))
                self.listen(self.epochs[-1])
            self._check_learnt()
        finally:
            watch.remove()
            # accelerate keeps what it prepares: without this, momenta of every task would stay in memory.
            self.accelerator._optimizers.remove(self.optimiser)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def _epoch(self, epoch: int) -> EpochDone:
        running, lr = _Running(self.model.device), 0.0
        shard = (self.accelerator.process_index, self.accelerator.num_processes)
        batches = self.task.train.batches(
            self.settings.batch_size,
            epoch=epoch,
            shard=shard,
            device=self.model.device,
            workers=preparing_threads(self.model.device),
        )
        before = time.perf_counter()
        for step, batch in enumerate(batches):
            lr = set_lr(self.optimiser, lr_factor(self.settings, epoch + step / self.steps_per_epoch))
            self._mask(epoch, step)
            self._step(batch, running)
            self.seconds.append(time.perf_counter() - before)
            if self.accelerator.num_processes == 1 and running.due():
                self._report(running, epoch, step)
            before = time.perf_counter()
        loss, accuracy = self._finite(running, epoch, self.steps_per_epoch - 1)
        hook(self.method, "after_epoch")(self.model, self.task, epoch)
        return EpochDone(task=self.task.index, epoch=epoch, loss=loss, accuracy=accuracy, lr=lr)

    def _step(self, batch: Batch, running: _Running) -> None:
        """Take one optimiser step on one global batch, of which this process has a part, in micro-batches."""
        self.optimiser.zero_grad(set_to_none=True)
        with self.model.adapters.unchanged() if self.model.adapted else nullcontext():
            for part in batch.split(self.settings.accumulation) if len(batch) else []:
                with self.accelerator.autocast():
                    loss = self.method.loss(self.model, part, self.task)
                share = len(part) / batch.global_size * self.accelerator.num_processes
                self.accelerator.backward(loss * share)
                running.add(loss, self._correct(part), len(part))
        self._average_gradients()
        hook(self.method, "after_backward")(self.model, self.task)
        if self.settings.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.optimiser.step()
        hook(self.method, "after_step")(self.model, self.task)

    def _mask(self, epoch: int, step: int) -> None:
        """Draw the masks of LoRA dropout for one step, the same on every process; `freeze` takes them off."""
        if self.settings.lora_dropout and self.model.adapted:
            generator = self.model.randomness.torch("lora dropout", self.task.index, epoch, step)
            self.model.adapters.mask(self.settings.lora_dropout, generator=generator)

    def _average_gradients(self) -> None:
        """Average the gradients over the processes; what learns is small, so one sum of one vector does."""
        if self.accelerator.num_processes == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        flat = total(self.accelerator, torch.cat([g.reshape(-1) for g in gradients])) / self.accelerator.num_processes
        parts = flat.split([p.numel() for p in self.parameters])
        for parameter, gradient in zip(self.parameters, parts, strict=True):
            parameter.grad = gradient.view_as(parameter)

    def _keep_logits(self, _head: nn.Module, _inputs: object, logits: Tensor) -> None:
        self.logits = logits.detach()

    def _correct(self, batch: Batch) -> Tensor:
        """Return how many images of the batch the last logits have right, choosing among the task's classes."""
        own = self.logits[:, -len(self.task.class_names) :]
        return (own.argmax(dim=1) == batch.labels - self.task.first_class).sum()

    def _report(self, running: _Running, epoch: int, step: int) -> None:
        loss, accuracy = self._finite(running, epoch, step)
        self.listen(StepDone(task=self.task.index, epoch=epoch, step=step + 1, loss=loss, accuracy=accuracy))

    def _check_learnt(self) -> None:
        """See that the last step left numbers behind: no loss has been computed from them yet."""
        if not all(torch.isfinite(p).all() for p in self.parameters):
            raise self._diverged(self.settings.epochs - 1, self.steps_per_epoch - 1, "weights that are not finite")

    def _finite(self, running: _Running, epoch: int, step: int) -> tuple[float, float]:
        loss, accuracy = running.means(self.accelerator)
        if not math.isfinite(loss):
            raise self._diverged(epoch, step, f"a loss of {loss}")
        return loss, accuracy

    def _diverged(self, epoch: int, step: int, got: str) -> RunError:
        return RunError(
            f"task {self.task.index + 1}, epoch {epoch + 1}, step {step + 1} or shortly before",
            expected="a finite loss",
            got=got,
            next_step="lower training.lr, set training.clip_norm=1, or use training.precision=fp32",
        )
