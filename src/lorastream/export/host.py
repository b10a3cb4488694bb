"""A foreign network with a classifier of its own, and how the features of ours come into it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.load import HUGGING_FACE
from lorastream.errors import BackboneError, MethodError
from lorastream.export.merged import Merged

ALIKE = 1e-3  # what rounding in another order of operations comes to, many times over


class Host(Protocol):
    """A kind of network that another library makes by name."""

    @property
    def source(self) -> str:
        """Its name, as its library's users write it."""
        ...

    @property
    def own_prefix(self) -> str:
        """What our names of weights begin with and the host's do not."""
        ...

    @property
    def prefix(self) -> str:
        """What the host's begin with instead."""
        ...

    def plain(self, n_classes: int) -> nn.Module:
        """Return the network with a classifier of so many classes, its weights random."""
        ...

    def classifiers(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the layers that make the logits, by name."""
        ...

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the host's logits `[n, classes]` of normalised images."""
        ...


def host_of(merged: Merged, target: str) -> Any:  # noqa: ANN401 (`TimmHost` or `TransformersHost`: they are told apart by class)
    """Return the host that can hold a learner's network.

    Raises:
        BackboneError: neither timm nor transformers makes such a network by name.
        MethodError: prompts enter the network, which no library's own takes.
    """
    from lorastream.export.timm_host import TimmHost
    from lorastream.export.transformers_host import TransformersHost

    if merged.learner.model.prompts is not None:
        raise MethodError(
            f"export to {target}, method {merged.learner.method_name}",
            expected="a model that is a plain network: one pass, and all that was learnt in its weights",
            got="one with prompts, which a pass of its own chooses for every image",
            next_step="export to onnx or torch, which take both passes as one program",
        )
    backbone = merged.learner.model.backbone
    made = TransformersHost.of(backbone) if is_of_transformers(backbone) else TimmHost.of(backbone)
    if made is None:
        raise unfit(merged, target, got="a network that neither timm nor transformers makes by name")
    return made


def is_of_transformers(backbone: Backbone) -> bool:
    """Whether it was loaded through transformers."""
    return backbone.identity.name.startswith(HUGGING_FACE)


def unfit(merged: Merged, target: str, *, got: str, expected: str = "") -> BackboneError:
    """Return the error for a backbone that a target cannot hold; onnx and torch take any."""
    return BackboneError(
        f"export to {target}, backbone {merged.learner.model.backbone.identity.name}",
        expected=expected or "glyph_vit, an exact timm tag, or hf: and the name of a Hugging Face encoder",
        got=got,
        next_step="export to onnx or torch, which take any network",
    )


def filled(merged: Merged, host: Host, target: str) -> nn.Module:
    """Return the host's network with the merged weights and the head in its classifier.

    Raises:
        MethodError: the head is not linear.
        BackboneError: the host's classifier reads other features than lorastream's head.
    """
    network = host.plain(len(merged.class_names))
    put_features(merged, host, network, target)
    put_head(merged, host, network, target)
    network.eval().requires_grad_(requires_grad=False)
    size = merged.image_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, got = merged.classifier(images), host.logits(network, images)
    if expected.shape != got.shape or not (expected - got).abs().max() <= ALIKE * (1 + expected.abs().max()):
        raise unfit(
            merged,
            target,
            expected="a network whose classifier reads the features that lorastream's head was taught on",
            got=f"{type(network).__name__}, which makes its features in another way",
        )
    return network


def put_features(merged: Merged, host: Host, network: nn.Module, target: str) -> None:
    """Put the merged weights into the host's network; what it has beside them is its classifier."""
    state = merged.network.state_dict()
    renamed = {host.prefix + name.removeprefix(host.own_prefix): tensor for name, tensor in state.items()}
    own = network.state_dict()
    classifiers = tuple(f"{name}." for name in host.classifiers(network))
    missing = [name for name in own if name not in renamed and not name.startswith(classifiers)]
    wrong = [name for name, tensor in renamed.items() if name in own and own[name].shape != tensor.shape]
    if missing or wrong:
        raise unfit(
            merged,
            target,
            expected=f"the weights of {type(network).__name__}",
            got=f"none that fits its '{(missing + wrong)[0]}'",
        )
    network.load_state_dict({name: tensor for name, tensor in renamed.items() if name in own}, strict=False)


def put_head(merged: Merged, host: Host, network: nn.Module, target: str) -> None:
    """Put the head into every classifier of the host's network.

    A classifier that reads more features after ours (DINOv2's also the mean of the patches) gets zeros there; of two
    classifiers whose logits are averaged (a distilled network's) each is the head, as the features are averaged too.
    """
    head = merged.linear_head(target)
    for name, layer in host.classifiers(network).items():
        bias: Any = getattr(layer, "bias", None)
        if not isinstance(layer, nn.Linear) or bias is None or layer.in_features % merged.width:
            raise unfit(
                merged, target, expected="a network with a linear classifier", got=f"{type(layer).__name__} '{name}'"
            )
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[:, : merged.width] = head.weight
            bias.copy_(head.bias)
