"""The epochs and steps in which one task is learnt."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lorastream.data.task import Batch, Task
from lorastream.errors import RunError
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.training.device import preparing_threads, total
from lorastream.training.events import EpochDone, Listener, StepDone, TaskStarted
from lorastream.training.hooks import hook, parameter_groups
from lorastream.training.optimiser import build_optimiser, lr_factor, set_lr
from lorastream.training.settings import TrainingSettings

SECONDS_BETWEEN_REPORTS = 0.2


class Running:
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


class Descent:
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
        running, lr = Running(self.model.device), 0.0
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

    def _step(self, batch: Batch, running: Running) -> None:
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

    def _report(self, running: Running, epoch: int, step: int) -> None:
        loss, accuracy = self._finite(running, epoch, step)
        self.listen(StepDone(task=self.task.index, epoch=epoch, step=step + 1, loss=loss, accuracy=accuracy))

    def _check_learnt(self) -> None:
        """See that the last step left numbers behind: no loss has been computed from them yet."""
        if not all(torch.isfinite(p).all() for p in self.parameters):
            raise self._diverged(self.settings.epochs - 1, self.steps_per_epoch - 1, "weights that are not finite")

    def _finite(self, running: Running, epoch: int, step: int) -> tuple[float, float]:
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
