"""The kinds of heads by name, and a head from what was saved of it: the names of its tensors say which kind it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from lorastream.heads.cosine import CosineHead
from lorastream.heads.discriminant import DiscriminantHead
from lorastream.heads.linear import LinearHead
from lorastream.heads.prototype import PrototypeHead
from lorastream.heads.ridge import RidgeHead
from lorastream.heads.truncated import TruncatedHead

Head = LinearHead | CosineHead | DiscriminantHead | PrototypeHead | RidgeHead | TruncatedHead
HeadKind = Literal["linear", "cosine", "discriminant", "prototype", "ridge", "truncated"]

HEADS: dict[HeadKind, type[Head]] = {
    "linear": LinearHead,
    "cosine": CosineHead,
    "discriminant": DiscriminantHead,
    "prototype": PrototypeHead,
    "ridge": RidgeHead,
    "truncated": TruncatedHead,
}


def load_head(tensors: Mapping[str, Tensor], sizes: Sequence[int]) -> Head:
    """Take what some head's `tensors` gave.

    Args:
        tensors: of at least one class.
        sizes: the numbers of classes of the tasks, in order of arrival.
    """
    head = _head_of(tensors)
    head.load_tensors(tensors, sizes)
    return head


def _head_of(tensors: Mapping[str, Tensor]) -> Head:
    if "prototypes" in tensors:
        return PrototypeHead(tensors["prototypes"].shape[1])
    if "projection" in tensors:
        return (TruncatedHead if "singular_values" in tensors else RidgeHead)(len(tensors["projection"]))
    made = next((kind for kind in (CosineHead, DiscriminantHead) if kind.stored_as in tensors), LinearHead)
    return made(tensors["weight"].shape[1])
