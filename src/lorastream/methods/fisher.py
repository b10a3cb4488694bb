"""Which weights of adapted projections matter to a task: the diagonal of the Fisher information, image by image."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lorastream import processes
from lorastream.adapters import Adapters
from lorastream.data.task import Batch, Task
from lorastream.linalg.penalties import squared_gradients
from lorastream.methods.losses import cross_entropy
from lorastream.model import IncrementalClassifier

FisherLabels = Literal["data", "model"]
IMAGES_AT_ONCE = 32


def fisher_information(model: IncrementalClassifier, task: Task, labels: FisherLabels) -> dict[str, Tensor]:
    """Return the diagonal Fisher information of the composed weight's rows on a task's images, by adapter name.

    The mean over the images of the squared gradient of each image's cross-entropy over the task's classes; an image's
    gradient is the sum over its tokens of the outer products of output gradient and input. In float32, some images at a
    time, without augmentation.

    Args:
        model: nothing of its adapters live.
        task: its training images.
        labels: `data`: their own; `model`: one drawn for each image from the model's answer.

    Returns:
        For each adapter `[out, in]`, at least 0.
    """
    sums = {name: a.scale.new_zeros(a.out_features, a.in_features) for name, a in model.adapters.items()}
    generator, kind = model.randomness.torch("fisher labels", task.index), next(model.backbone.parameters()).dtype
    numbers = torch.rand(len(task.train), generator=generator, dtype=torch.float64)
    shard = processes.shard()
    for plain in task.train.batches(IMAGES_AT_ONCE * shard[1], shard=shard, device=model.device):
        if not (len(plain) or model.backbone.sharded):
            continue
        with torch.enable_grad(), _watched(model.adapters) as (inputs, outputs):
            logits = model(plain.images.to(kind))
            batch = plain if labels == "data" else _relabelled(plain, logits, task, numbers)
            # The sum over images: of what an image's outputs get, every other image's loss is independent.
            loss = cross_entropy(logits, batch, task, "current_classes") * len(batch)
        gradients = torch.autograd.grad(loss, list(outputs.values()), materialize_grads=True)
        for name, gradient in zip(outputs, gradients, strict=True):
            layer = model.adapters.layers[name]
            rows = inputs[name].reshape(len(batch), -1, layer.in_features)
            by_image = gradient.reshape(len(batch), -1, layer.out_features)
            for part, moved in layer.rows.items():
                sums[f"{name}/{part}"] += squared_gradients(rows, by_image[..., moved.slice])
    return {name: processes.total(own) / len(task.train) for name, own in sums.items()}


@contextmanager
def _watched(adapters: Adapters) -> Generator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Keep inputs and outputs of every adapted layer, by name, as long as the context lasts; outputs get gradients."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str, _layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inputs[name] = arguments[0].detach()
        outputs[name] = output if output.requires_grad else output.requires_grad_()
        return outputs[name]

    handles = [layer.register_forward_hook(partial(keep, name)) for name, layer in adapters.layers.items()]
    try:
        yield inputs, outputs
    finally:
        for handle in handles:
            handle.remove()


def _relabelled(batch: Batch, logits: Tensor, task: Task, numbers: Tensor) -> Batch:
    """Return the batch with a label for each image drawn from the softmax over the task's classes.

    Args:
        batch: some of the task's images.
        logits: `[n, classes]`, of the model.
        task: whose classes are drawn.
        numbers: one for each of the task's images, uniform from 0 to 1, whichever process and batch it is in.
    """
    answers = logits.detach()[:, task.first_class :].double().softmax(dim=1).cpu().cumsum(dim=1)
    drawn = torch.searchsorted(answers, numbers[batch.indices.cpu()][:, None]).squeeze(1)
    drawn = drawn.clamp(max=answers.shape[1] - 1)
    return replace(batch, labels=drawn.to(batch.labels.device) + task.first_class)
