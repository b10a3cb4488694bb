"""The check that every export passes: the other library's logits are lorastream's, on real inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lorastream.data.images import IMAGE_SUFFIXES, decode
from lorastream.errors import DataError, RunError
from lorastream.export.exporter import Logits
from lorastream.learner import Learner

SEEDED = 8
MOST_PICTURES = 64
BATCH = 16


@dataclass(frozen=True)
class Inputs:
    """Images to compare on.

    Attributes:
        images: normalised, `[n, 3, s, s]`, n at least 1.
        described: what they are, for people.
    """

    images: Tensor
    described: str


def seeded_images(learner: Learner, n: int = SEEDED) -> Inputs:
    """Return images of random pixels, 0 to 255, normalised as the learner's are; the same ones every time."""
    size = learner.transforms[1].geometry.crop
    pixels = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Inputs(learner.transforms[1].normalise(pixels), f"{n} seeded images")


def pictures(learner: Learner, folder: Path) -> Inputs:
    """Return the pictures below a folder, at most `MOST_PICTURES`, prepared as the learner sees them.

    Raises:
        DataError: no such folder, no picture in it, or one that cannot be read.
    """
    root = folder.expanduser()
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise DataError(
            f"--pictures {folder}",
            expected="a folder with pictures",
            got="no picture in it" if root.is_dir() else "a file" if root.exists() else "no such folder",
            next_step="name another folder, or leave it out to compare on seeded images",
        )
    transform = learner.transforms[1]
    chosen = _spread(found, MOST_PICTURES)
    pixels = transform.plain([transform.fixed(decode(path, name=str(path))) for path in chosen])
    of = f" of {len(found)}" if len(chosen) < len(found) else ""
    return Inputs(transform.normalise(pixels), f"{len(chosen)}{of} picture{'s' * (len(found) > 1)} of {folder}")


def largest_difference(reference: Logits, other: Logits, images: Tensor) -> float:
    """Return the largest difference of any logit, batch by batch and for the first image alone; NaN where one is."""
    largest = 0.0
    for batch in [images[:1], *images.split(BATCH)]:
        expected, got = reference(batch), other(batch)
        if expected.shape != got.shape:
            return math.inf
        largest = max(largest, _finite_or_nan((expected - got.detach().cpu().float()).abs().max().item()))
    return largest


def check(target: str, difference: float, tolerance: float, inputs: Inputs) -> None:
    """See that the difference is within the tolerance.

    Raises:
        RunError: it is larger, or not a number.
    """
    if difference <= tolerance:
        return
    raise RunError(
        f"export to {target}",
        expected=f"logits that differ from lorastream's by at most {tolerance:.1e} on {inputs.described}",
        got=f"a difference of {difference:.1e}",
        next_step="nothing on disk was changed; if that is near enough for you, give a larger --tolerance",
    )


def _finite_or_nan(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _spread(found: Sequence[Path], most: int) -> list[Path]:
    """Return at most so many, spread over all, so that every class folder has its share."""
    step = max(1, -(-len(found) // most))
    return list(found[::step])
