"""A learner as plain modules: the backbone with every update in its weights, its prompts, and the head; no adapter."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.errors import DataError, MethodError
from lorastream.export.preprocessing import preprocessing
from lorastream.heads import LinearHead
from lorastream.learner import Learner
from lorastream.model import IncrementalClassifier
from lorastream.prompts import Prompts


class PlainClassifier(nn.Module):
    """Images to logits: a network of features, and a head."""

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[n, classes]` of normalised images `[n, 3, s, s]`."""
        return self.head(self.network(images))


class PromptedNetwork(nn.Module):
    """Images to features in two passes of a backbone: one for the query, one with the prompts that it chooses."""

    def __init__(self, backbone: Backbone, prompts: Prompts) -> None:
        super().__init__()
        self.backbone, self.prompts = backbone, prompts

    def forward(self, images: Tensor) -> Tensor:
        """Return features `[n, width]` of normalised images `[n, 3, s, s]`."""
        chosen = self.prompts(self.backbone(images))
        return self.backbone(images, tokens=chosen.tokens, prefixes=chosen.prefixes, read=chosen.read)


@dataclass(frozen=True, kw_only=True, eq=False)
class Merged:
    """What there is to export, on the CPU in float32.

    Attributes:
        learner: whose it is; it stays as it was.
        network: a copy of the backbone's network with all updates in its weights, and of what prompts enter it; images
            to features.
        head: the head as one linear layer where it is linear, else a copy of it.
    """

    learner: Learner
    network: nn.Module
    head: nn.Module

    @property
    def class_names(self) -> list[str]:
        """The name of every logit."""
        return self.learner.class_names

    @property
    def width(self) -> int:
        """The number of features."""
        return self.learner.model.backbone.width

    @property
    def image_size(self) -> int:
        """The side of the input in pixels."""
        return self.learner.transforms[1].geometry.crop

    @cached_property
    def preprocessing(self) -> dict[str, Any]:
        """How a picture is prepared, as keywords of `timm.data.create_transform`."""
        return preprocessing(self.learner.transforms[1])

    @property
    def calibration(self) -> dict[str, float] | None:
        """What makes probabilities of the logits, which stay as they are; None for a model that was not calibrated.

        `temperature`: what logits are divided by before the softmax. `unknown_energy`: where it was fitted, above it
        minus the logsumexp of the logits, not divided, says that the image is of no class that is known.
        """
        own = self.learner.model.calibration
        if own is None or not own.is_fitted:
            return None
        energy = own.thresholds.get("energy")
        return {"temperature": own.temperature, **({"unknown_energy": energy.value} if energy else {})}

    @property
    def facts(self) -> dict[str, Any]:
        """What goes with the weights into every export: a file's name, and what it says."""
        named = {
            "classes.json": self.class_names,
            "preprocessing.json": self.preprocessing,
            "calibration.json": self.calibration,
        }
        return {name: content for name, content in named.items() if content is not None}

    @property
    def classifier(self) -> PlainClassifier:
        """Network and head as one module."""
        return PlainClassifier(self.network, self.head).eval()

    def linear_head(self, target: str) -> nn.Linear:
        """Return the head as one linear layer.

        Args:
            target: what wants it, for the message.

        Raises:
            MethodError: it is no linear layer.
        """
        if isinstance(self.head, nn.Linear):
            return self.head
        raise MethodError(
            f"export to {target}, method {self.learner.method_name}",
            expected="a linear head, the only one that such a classifier has",
            got=f"{type(self.head).__name__}, whose logits are not linear in the features",
            next_step="export to onnx or torch, which take any head as it is",
        )

    def reference(self, images: Tensor) -> Tensor:
        """Return the logits `[n, classes]` that lorastream itself gives, its updates not merged."""
        model = self.learner.model
        with torch.inference_mode(), _on_cpu(model):
            return model(images).float()


def merge(learner: Learner) -> Merged:
    """Merge a copy of a learner's model; the learner stays as it was.

    Raises:
        DataError: it knows no class yet.
        MethodError: its method answers otherwise than by its model's logits.
    """
    _check(learner)
    model = learner.model
    with model.merged():
        network = copy.deepcopy(_network(model))
    network = network.to("cpu", torch.float32).requires_grad_(requires_grad=False).eval()
    return Merged(learner=learner, network=network, head=_plain_head(model.head))


def _network(model: IncrementalClassifier) -> nn.Module:
    return model.backbone.network if model.prompts is None else PromptedNetwork(model.backbone, model.prompts)


def _plain_head(head: nn.Module) -> nn.Module:
    if not isinstance(head, LinearHead):
        return copy.deepcopy(head).to("cpu", torch.float32).requires_grad_(requires_grad=False)
    tensors = head.tensors()
    linear = nn.Linear(head.width, head.n_classes)
    linear.load_state_dict({"weight": tensors["weight"], "bias": tensors["bias"]})
    return linear.requires_grad_(requires_grad=False)


def _check(learner: Learner) -> None:
    if not learner.class_names:
        raise DataError("export", expected="a model that knows classes", got="none yet", next_step="learn a task first")
    traits = learner.method.traits
    one_program = traits.merges_exactly or traits.prompted  # prompts and both passes: `PromptedNetwork`
    if not one_program or hasattr(learner.method, "predict"):
        own_way = f"one of {traits.inference_passes} passes" if traits.inference_passes > 1 else "one with its own way"
        raise MethodError(
            f"export, method {learner.method_name}",
            expected="a method whose answers are those of one network, with all that was learnt in it",
            got=f"{own_way} to an answer",
            next_step="use the model through lorastream: Learner.load(folder).predict(pictures)",
        )


@contextmanager
def _on_cpu(model: nn.Module) -> Generator[None]:
    device = next(model.parameters()).device
    model.cpu()
    try:
        yield
    finally:
        model.to(device)
