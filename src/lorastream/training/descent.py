"""The epochs and steps in which one task is learnt; what it has come to is kept, and gone on from."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lorastream.data.task import Batch, Task
from lorastream.errors import RunError
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.training import mishaps
from lorastream.training.device import preparing_threads, total
from lorastream.training.events import EpochDone, Listener, Note, StepDone, TaskStarted
from lorastream.training.hooks import hook, parameter_groups
from lorastream.training.interruption import Postponed
from lorastream.training.optimiser import build_optimiser, lr_factor, set_lr
from lorastream.training.penalties import Penalties
from lorastream.training.ranks import Ranks
from lorastream.training.resume import Keeper, Progress, lay_over, packed, scaler_facts
from lorastream.training.running import Running
from lorastream.training.running_mean import settle_on_mean, take_in
from lorastream.training.settings import TrainingSettings

Part = tuple[Tensor, Tensor, int]
"""Of a micro-batch: its mean loss, how many images were right, how many there were."""


class Descent:
    """The epochs and steps of one task.

    Attributes:
        progress: how far it has come.
        running: what the epoch under way has come to.
        carried: further tensors that a step hands on to the next, by name; kept, and given back on resuming.
        seconds: wall time of every step of this sitting.
    """

    def __init__(
        self,
        model: IncrementalClassifier,
        method: Method,
        task: Task,
        settings: TrainingSettings,
        accelerator: Accelerator,
        listen: Listener,
        keeper: Keeper | None = None,
        penalties: Penalties | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.model, self.method, self.task = model, method, task
        self.settings, self.accelerator, self.listen, self.keeper = settings, accelerator, listen, keeper
        self.penalties, self.ranks = penalties, ranks
        self.steps_per_epoch = task.train.n_batches(settings.batch_size)
        self.alone = accelerator.num_processes == 1
        found = keeper.progress if keeper else None
        self.progress = Progress.of_facts(found.facts) if found else Progress(accumulation=settings.accumulation)
        self.running = Running(model.device)
        self.carried: dict[str, Tensor] = {}
        self.seconds: list[float] = []
        self.begun = time.perf_counter()

    def run(self) -> None:
        """Train for all epochs that are still to do."""
        groups = parameter_groups(self.method, self.model, self.settings)
        self.parameters: list[Tensor] = [p for group in groups for p in group["params"]]
        self.optimiser = self.accelerator.prepare(build_optimiser(groups, self.settings))
        watch = self.model.head.register_forward_hook(self._keep_logits)
        # Of several processes each would hear of a signal at a step of its own: there it acts at once.
        self.signals = Postponed(active=self.keeper is not None and self.alone)
        try:
            self._lay_over()
            self.listen(
                TaskStarted(
                    task=self.task.index,
                    class_names=self.task.class_names,
                    epochs=self.settings.epochs,
                    steps_per_epoch=self.steps_per_epoch,
                )
            )
            with self.signals:
                for epoch in range(self.progress.epoch, self.settings.epochs):
                    self._epoch(epoch)
            settle_on_mean(self.carried, self.parameters)
            self._check_learnt()
        finally:
            watch.remove()
            # accelerate keeps what it prepares: without this, momenta of every task would stay in memory.
            self.accelerator._optimizers.remove(self.optimiser)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def _epoch(self, epoch: int) -> None:
        lr, before = 0.0, time.perf_counter()
        for step, batch in enumerate(self._batches(epoch), self.progress.step):
            lr = set_lr(self.optimiser, lr_factor(self.settings, epoch + step / self.steps_per_epoch))
            self._mask(epoch, step)
            self._step(batch, step)
            self.progress.step = step + 1
            self.seconds.append(time.perf_counter() - before)
            if self.alone and self.running.due():
                self._report()
            if step + 1 < self.steps_per_epoch:
                self._pause()
            before = time.perf_counter()
        loss, accuracy = self._finite()
        hook(self.method, "after_epoch")(self.model, self.task, epoch)
        done = EpochDone(task=self.task.index, epoch=epoch, loss=loss, accuracy=accuracy, lr=lr)
        self.progress.epochs.append(done)
        self.progress.epoch, self.progress.step, self.running = epoch + 1, 0, Running(self.model.device)
        self._keep()
        self.signals.deliver()
        self.listen(done)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        return self.task.train.batches(
            self.settings.batch_size,
            epoch=epoch,
            shard=(self.accelerator.process_index, self.accelerator.num_processes),
            start=self.progress.step,
            device=self.model.device,
            workers=preparing_threads(self.model.device),
        )

    def _step(self, batch: Batch, step: int) -> None:
        """Take one optimiser step on one global batch, of which this process has a part."""
        parts = self._gradients(batch)
        self._average_gradients()
        if self.settings.skip_bad_batches and not self._is_finite(parts):
            self._leave_out(step)
            return
        for loss, correct, n in parts:
            self.running.add(loss, correct, n, step)
        hook(self.method, "after_backward")(self.model, self.task)
        if self.settings.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.optimiser.step()
        if self.ranks is not None:
            self.ranks.after_step(self.optimiser)
        hook(self.method, "after_step")(self.model, self.task)
        if self.settings.average is not None:
            take_in(self.carried, self.parameters, self.settings.average)

    def _gradients(self, batch: Batch) -> list[Part]:
        """Compute the gradients of a batch in micro-batches; in smaller ones where memory does not suffice."""
        while True:
            self.optimiser.zero_grad(set_to_none=True)
            try:
                return self._accumulated(batch)
            except RuntimeError as error:
                if not mishaps.is_out_of_memory(error):
                    raise
            # Not within `except`: the error holds on to all that the failed step had made.
            self._halve(batch)

    def _accumulated(self, batch: Batch) -> list[Part]:
        seen: list[Part] = []
        with self.model.adapters.unchanged() if self.model.adapted else nullcontext():
            parts = batch.split(self.progress.accumulation) if len(batch) else []
            if self.penalties is not None:
                with self.accelerator.autocast():
                    self.penalties.look_at(self.model, parts)
            for part in parts:
                with self.accelerator.autocast():
                    loss = self.method.loss(self.model, part, self.task)
                    if self.penalties is not None and self.features is not None:
                        loss = loss + self.penalties(part, self.features)
                share = len(part) / batch.global_size * self.accelerator.num_processes
                self.accelerator.backward(loss * share)
                seen.append((loss.detach(), self._correct(part), len(part)))
            self.model.keep_company(self.progress.accumulation - len(seen))
        return seen

    def _halve(self, batch: Batch) -> None:
        """Cut batches into twice as many micro-batches from here on; their gradients add up to the same."""
        at_once = math.ceil(len(batch) / self.progress.accumulation)
        if at_once <= 1:
            raise mishaps.too_little_memory(self._place(self.progress.step), batch)
        mishaps.release_memory()
        self.progress.accumulation *= 2
        half = math.ceil(len(batch) / self.progress.accumulation)
        where = self._place(self.progress.step)
        self._note(
            f"{where}: no memory for {at_once} images at once; {half} at once from here on, the batch is the same"
        )

    def _mask(self, epoch: int, step: int) -> None:
        """Draw the masks of LoRA dropout for one step, the same on every process; `freeze` takes them off."""
        if self.settings.lora_dropout and self.model.adapted:
            generator = self.model.randomness.torch("lora dropout", self.task.index, epoch, step)
            self.model.adapters.mask(self.settings.lora_dropout, generator=generator)

    def _average_gradients(self) -> None:
        """Average the gradients over the processes; what learns is small, so one sum of one vector does."""
        if self.alone:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        flat = total(self.accelerator, torch.cat([g.reshape(-1) for g in gradients])) / self.accelerator.num_processes
        parts = flat.split([p.numel() for p in self.parameters])
        for parameter, gradient in zip(self.parameters, parts, strict=True):
            parameter.grad = gradient.view_as(parameter)

    def _keep_logits(self, _head: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        self.logits = logits.detach()
        self.features = inputs[0] if self.penalties is not None else None

    def _correct(self, batch: Batch) -> Tensor:
        """Return how many images of the batch the last logits have right, choosing among the task's classes."""
        own = self.logits[:, -len(self.task.class_names) :]
        return (own.argmax(dim=1) == batch.labels - self.task.first_class).sum()

    def _lay_over(self) -> None:
        """Go on from what was kept, if anything was."""
        if self.keeper is None or self.keeper.progress is None:
            return
        tensors = self.keeper.progress.tensors
        sums = lay_over(self.model, self.method, self.optimiser, tensors)
        if self.accelerator.is_main_process:  # they are of all processes
            self.running.sums.copy_(sums)
        own = {name.removeprefix("carried/"): t for name, t in tensors.items() if name.startswith("carried/")}
        self.carried = {name: tensor.to(self.model.device) for name, tensor in own.items()}
        if self.progress.scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(self.progress.scaler)

    def _pause(self) -> None:
        """Keep the state where it is time to, or where somebody asked to stop; and stop then."""
        if self.signals.asked is not None or (self.keeper is not None and self.keeper.due(alone=self.alone)):
            self._keep()
        self.signals.deliver()

    def _keep(self) -> None:
        """Keep what the task has come to, if it is finite."""
        if self.keeper is None:
            return
        self._check_finite()
        sums = total(self.accelerator, self.running.sums.clone())
        if self.accelerator.is_main_process:
            seconds = self.progress.seconds + time.perf_counter() - self.begun
            progress = replace(self.progress, seconds=seconds, scaler=scaler_facts(self.accelerator))
            carried = {f"carried/{name}": tensor for name, tensor in self.carried.items()}
            self.keeper.keep(progress, {**packed(self.model, self.method, self.optimiser, sums), **carried})

    def _report(self) -> None:
        loss, accuracy = self._finite()
        self.listen(
            StepDone(
                task=self.task.index,
                epoch=self.progress.epoch,
                step=self.progress.step,
                loss=loss,
                accuracy=accuracy,
            )
        )

    def _note(self, text: str) -> None:
        self.progress.notes.append(text)
        self.listen(Note(text=text))

    def _is_finite(self, parts: list[Part]) -> bool:
        """Whether losses and gradients are finite on all processes. This waits for the device."""
        numbers = [loss for loss, _, _ in parts]
        if self.accelerator.scaler is None:  # with fp16 its own scaling leaves out steps that overflow
            numbers += [p.grad for p in self.parameters if p.grad is not None]
        bad = [(~torch.isfinite(tensor)).any() for tensor in numbers]
        count = torch.stack(bad).sum() if bad else torch.zeros((), dtype=torch.int64, device=self.model.device)
        return not int(total(self.accelerator, count))

    def _leave_out(self, step: int) -> None:
        """Leave a batch out, as long as there are not too many of them."""
        self.optimiser.zero_grad(set_to_none=True)
        self.progress.skipped += 1
        if self.progress.skipped > self.settings.skip_bad_batches:
            limit = self.settings.skip_bad_batches
            raise self._diverged(step, f"a loss or gradient that is not finite, after {limit} batches were left out,")
        self._note(f"{self._place(step)} left out, its loss or gradient is not finite: {self._images(step)}")

    def _check_learnt(self) -> None:
        """See that the last step left numbers behind: no loss has been computed from them yet."""
        if not all(torch.isfinite(p).all() for p in self.parameters):
            last = self.progress.step or self.steps_per_epoch
            self.progress.epoch -= not self.progress.step
            raise self._diverged(last - 1, "weights that are not finite after it,")

    def _check_finite(self) -> None:
        if self.running.bad_step() is not None:
            self._finite()
        self._check_learnt()

    def _finite(self) -> tuple[float, float]:
        """Return the mean loss and the accuracy of the epoch so far.

        Raises:
            RunError: the loss of a step was not finite; the first such step is named.
        """
        loss, accuracy = self.running.means(self.accelerator)
        if not math.isfinite(loss):
            step = self.running.bad_step()
            raise self._diverged(self.progress.step - 1 if step is None else step, f"a loss of {loss}")
        return loss, accuracy

    def _diverged(self, step: int, got: str) -> RunError:
        kept = None if self.keeper is None else self.keeper.kept
        return mishaps.diverged(self._place(step), got, images=self._images(step), kept=kept)

    def _place(self, step: int) -> str:
        return mishaps.place(self.task, self.progress.epoch, step)

    def _images(self, step: int) -> str:
        return mishaps.images_of(self.task, self.progress.epoch, step, self.settings.batch_size)
