"""What may go wrong while a task is learnt, told so that it can be mended: where, on which images, and what to do."""

from __future__ import annotations

import gc

import torch

from lorastream.data.task import Batch, Task
from lorastream.errors import RunError

_NAMED = 5


def place(task: Task, epoch: int, step: int) -> str:
    """Return where a step is, counted from 1."""
    return f"task {task.index + 1}, epoch {epoch + 1}, step {step + 1}"


def images_of(task: Task, epoch: int, step: int, batch_size: int) -> str:
    """Return the names of the images of a step, the first few: they follow from seed, task, epoch and step."""
    batch = next(iter(task.train.batches(batch_size, epoch=epoch, start=step)))
    names = [str(task.train.names[index]) for index in batch.indices.tolist()]
    rest = f", ... ({len(names)} images)" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def diverged(where: str, got: str, *, images: str, kept: str | None) -> RunError:
    """Return the error of a loss, or of weights, that are not finite.

    Args:
        where: the step.
        got: what was found there.
        images: of the step.
        kept: the last good state, where there is one.
    """
    state = f"; the last good state is kept ({kept})" if kept else ""
    return RunError(
        where,
        expected="a finite loss",
        got=f"{got} on {images}{state}",
        next_step="lower training.lr, set training.clip_norm=1 or use training.precision=fp32; if the images are to "
        "blame, mend them, or leave out up to so many batches: training.skip_bad_batches=10",
    )


def too_little_memory(where: str, batch: Batch) -> RunError:
    """Return the error of a device on which not even one image at a time can be learnt from."""
    side = batch.images.shape[-1]
    return RunError(
        where,
        expected=f"memory to learn from one image of {side} pixels at a time",
        got="the device's memory is used up",
        next_step="end what else uses the device, use training.precision=bf16, a smaller backbone.image_size, "
        "or a smaller backbone",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up, of an accelerator or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release_memory() -> None:
    """Give back what a failed step holds."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
