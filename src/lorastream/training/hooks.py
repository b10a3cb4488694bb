"""The optional hooks of a method, with what happens where a method has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from torch import Tensor, nn

from lorastream.data.task import Task
from lorastream.methods.protocol import Method, learnt_parameters
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import TrainingSettings


class Hooks(Protocol):
    """Every optional hook of a method; a method has those it needs."""

    def parameter_groups(self, model: IncrementalClassifier, settings: TrainingSettings) -> list[dict[str, Any]]:
        """Return the optimiser's groups; by default the head with `head_lr`, everything else that learns with `lr`.

        From the second task on `backbone_rate` slows the latter down.
        """
        ...

    def after_backward(self, model: IncrementalClassifier, task: Task) -> None:
        """Change the gradients before the optimiser's step."""
        ...

    def after_step(self, model: IncrementalClassifier, task: Task) -> None:
        """Do something after every optimiser step."""
        ...

    def after_epoch(self, model: IncrementalClassifier, task: Task, epoch: int) -> None:
        """Do something after every epoch."""
        ...

    def predict(self, model: IncrementalClassifier, images: Tensor) -> Tensor:
        """Return logits `[n, classes seen]`; by default the model's own."""
        ...

    def figures(self, model: IncrementalClassifier) -> dict[str, Any]:
        """Return what is worth a place in the record after a task, as plain values."""
        ...


def hook(method: Method, name: str) -> Callable[..., Any]:
    """Return a method's hook, or a function that does nothing."""
    return cast("Callable[..., Any]", getattr(method, name, _nothing))


def parameter_groups(method: Method, model: IncrementalClassifier, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Return the optimiser's groups of a method: its own, or head and everything else that learns."""
    own = getattr(method, "parameter_groups", None)
    if own is not None:
        return own(model, settings)
    head = [p for p in model.head.parameters() if p.requires_grad]
    taken = {id(p) for p in head}
    rest: list[nn.Parameter] = [p for p in [*model.learning(), *learnt_parameters(method)] if id(p) not in taken]
    slower = settings.backbone_rate if len(model.task_sizes) > 1 else 1.0
    groups = [{"params": rest, "lr": settings.lr * slower}, {"params": head, "lr": settings.head_lr or settings.lr}]
    return [group for group in groups if group["params"]]


def predict(method: Method, model: IncrementalClassifier, images: Tensor) -> Tensor:
    """Return logits `[n, classes seen]` as the method makes them."""
    own = getattr(method, "predict", None)
    return model(images) if own is None else own(model, images)


def features_and_logits(method: Method, model: IncrementalClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `predict` returns with the features `[n, width]` that the head saw meanwhile; both float32."""
    seen: list[Tensor] = []
    watch = model.head.register_forward_pre_hook(lambda _head, inputs: seen.append(inputs[0]))
    try:
        logits = predict(method, model, images)
    finally:
        watch.remove()
    return (seen[-1] if seen else model.features(images)).float(), logits.float()


def _nothing(*_: object) -> dict[str, Any]:
    return {}
