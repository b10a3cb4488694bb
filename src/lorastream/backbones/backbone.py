"""What every backbone is to the rest of the library: pictures in, features out, and named projections."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lorastream.backbones.attention import faster_attention
from lorastream.backbones.class_token import narrow
from lorastream.backbones.projections import Projection
from lorastream.backbones.prompted import Read, prompted, takes_prompts
from lorastream.data.transforms import InputSpec
from lorastream.errors import BackboneError, Fault, MethodError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which backbone this is, so that it can be loaded again and a mistaken one refused.

    Attributes:
        name: the exact name: `glyph_vit`, a timm tag, or `hf:` and a name or folder.
        weights: the file the weights came from; None where the name says it all.
        image_size: side of the input in pixels.
        sha256: over the names and values of all weights as loaded.
        pretrained: False where the weights are random.
    """

    name: str
    weights: str | None
    image_size: int
    sha256: str
    pretrained: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


class Backbone(nn.Module):
    """A pretrained encoder without its classifier.

    Args:
        network: maps images `[n, 3, s, s]` to features `[n, width]`.
        spec: the input that it wants.
        width: the number of features.
        projections: where its projections are, by what they are: `query`, `key`, `value`, ...
        name: its exact name.
        weights: the file its weights came from, if any.
        pretrained: False where its weights are random.

    Attributes:
        trained: whether its own weights have been changed by learning, so that they must be saved.
        sharded: whether its blocks' weights are in parts over several processes.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        spec: InputSpec,
        width: int,
        projections: Mapping[str, Sequence[Projection]],
        name: str,
        weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(requires_grad=False)
        narrow(network)
        self.trained = False
        self.sharded = False
        self.spec = spec
        self.width = width
        self.projections = {kind: tuple(found) for kind, found in projections.items()}
        self.identity = Identity(
            name=name,
            weights=weights,
            image_size=spec.image_size,
            sha256=weights_sha256(network),
            pretrained=pretrained,
        )

    def forward(
        self,
        images: Tensor,
        *,
        tokens: Tensor | None = None,
        prefixes: Mapping[int, Tensor] | None = None,
        read: Read = "class_token",
    ) -> Tensor:
        """Return features `[n, width]` of normalised images `[n, 3, s, s]`, with prompts where there are any.

        See `backbones.prompted`; `check_takes_prompts` says whether it can.
        """
        with faster_attention(images):
            if tokens is not None or prefixes:
                return prompted(self.network, images, tokens=tokens, prefixes=prefixes, read=read)
            features = self.network(images)
        # A part of the tokens is a view, of which FSDP warns as it hooks into what comes out here.
        return features.clone() if self.sharded else features

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: a frozen encoder has no dropout and moves no running statistics."""
        del mode
        return super().train(mode=False)

    def check_is(self, sha256: str, *, where: str) -> None:
        """See that this is the backbone with these weights.

        Args:
            sha256: as `identity` has it.
            where: what was made with it, for the message.

        Raises:
            BackboneError: it is another one.
        """
        if self.identity.sha256 != sha256:
            raise BackboneError(
                f"{where}, backbone {self.identity.name}",
                expected=f"weights with SHA-256 {sha256[:16]}...",
                got=f"{self.identity.sha256[:16]}...",
                next_step="give the weights file that the model was made with: Learner.load(folder, weights=...)",
            )

    @property
    def depth(self) -> int:
        """The number of blocks; known of networks that take prompts."""
        return len(self.network.get_submodule("blocks")._modules)  # noqa: SLF001

    def check_takes_prompts(self) -> None:
        """See that prompts can enter it.

        Raises:
            MethodError: it is no plain vision transformer of timm.
        """
        if not takes_prompts(self.network):
            raise MethodError(
                f"method, backbone {self.identity.name}",
                expected="a plain vision transformer of timm, such as glyph_vit, deit_tiny_patch16_224.fb_in1k or "
                "vit_base_patch16_224.augreg_in21k: there prompts can enter",
                got=type(self.network).__name__,
                next_step="choose another backbone, or a method that adapts projections",
            )

    def find(self, kinds: Sequence[str], *, first_blocks: int | None = None) -> list[Projection]:
        """Return where the projections of these kinds are.

        Args:
            kinds: such as `("query", "value")`.
            first_blocks: only the first so many layers of each kind, counted from the input; None: all.

        Raises:
            MethodError: the backbone has no projection of that kind.
        """
        where = f"method.targets, backbone {self.identity.name}"
        faults: list[Fault] = [
            unknown_name(where, kind="projection", got=kind, choices=self.projections)
            for kind in kinds
            if kind not in self.projections
        ]
        if faults:
            raise MethodError.of(faults)
        found = [projection for kind in kinds for projection in self.projections[kind]]
        if first_blocks is None:
            return found
        return [replace(p, pattern=name) for p in found for name in self._layers(p)[:first_blocks]]

    def largest_rank(self, kinds: Sequence[str]) -> int:
        """Return the largest rank that an update of any projection of these kinds can have: its smaller width.

        Raises:
            MethodError: the backbone has no projection of that kind.
        """
        widths: list[int] = []
        for projection in self.find(kinds):
            for name in self._layers(projection):
                layer = self.network.get_submodule(name)
                if isinstance(layer, nn.Linear):
                    widths += [layer.in_features, layer.out_features // projection.parts]
        return min(widths)

    def _layers(self, projection: Projection) -> list[str]:
        """Return the layers of a projection by name, counted from the input."""
        return fnmatch.filter([name for name, _ in self.network.named_modules()], projection.pattern)


def weights_sha256(network: nn.Module) -> str:
    """Return the SHA-256 over the names, shapes and values (float32) of a network's weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()
