"""The second moments of what a task's images give the adapted layers, of one pass over them."""

from __future__ import annotations

from torch import Tensor

from lorastream.adapters import InputMoments
from lorastream.data.task import Task
from lorastream.model import IncrementalClassifier


def input_moments(
    model: IncrementalClassifier, task: Task, *, epoch: int | None = None, centred: bool = False
) -> dict[str, Tensor]:
    """Return for each adapted layer's name `[in, in]`, (1/n) sum x x' over its inputs x: see `adapters.InputMoments`.

    Args:
        model: its adapters are not merged; they take part, unless they are `left_out`.
        task: whose training images pass.
        epoch: augmented as in that epoch of training; None: as test images are seen.
        centred: whether the mean of the inputs is taken off them.

    Raises:
        AdapterError: nothing flowed into a layer, or a value was not finite; layer and batch are named.
    """
    with InputMoments(model.adapters, centred=centred) as moments:
        for _ in model.passes(task.train, epoch=epoch):
            pass
    return moments.mean()
