"""The random part of a transform, as a function of pixels and numbers.

An augmentation draws nothing itself: it takes, for every image, a row of numbers uniform on [0, 1). So what happens to
an image depends on its own numbers only, not on its batch, its process or what was drawn before; whole batches are
computed at once; and no global random state is read or moved.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lorastream.data.geometry import Geometry, Pixels, empty_stack, resized, stack

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Numbers = NDArray[np.float64]


class Augmentation(Protocol):
    """Changes images at random, the randomness given."""

    @property
    def n_numbers(self) -> int:
        """How many numbers an image takes."""
        ...

    def __call__(self, images: Sequence[Pixels], numbers: Numbers, device: torch.device | str = "cpu") -> Tensor:
        """Augment images of any size.

        Args:
            images: pixels `[height, width, 3]` each.
            numbers: `[n, n_numbers]` in [0, 1).
            device: that resizes; another one may round to a neighbouring level.

        Returns:
            One stack `[n, 3, size, size]`, uint8, on the device.
        """
        ...


def uniform_numbers(seeds: Sequence[int], n_numbers: int) -> Numbers:
    """Return `[len(seeds), n_numbers]` numbers uniform on [0, 1), each row from its own seed alone.

    SHAKE-256 of the seed, as making a NumPy generator for every image takes longer than augmenting a small one.
    """
    digests = b"".join(hashlib.shake_256(b"%d" % seed).digest(8 * n_numbers) for seed in seeds)
    bits = np.frombuffer(digests, dtype="<u8").reshape(len(seeds), n_numbers)
    return (bits >> 11).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, kw_only=True)
class CropAndFlip:
    """A part of random area and aspect ratio, resized to a square and mirrored every other time.

    The distribution of torchvision's `RandomResizedCrop(size, scale, ratio)` and `RandomHorizontalFlip()`.

    Attributes:
        size: side of the result, in pixels.
        scale: lowest and highest share of the area.
        ratio: lowest and highest width over height, drawn uniformly in the logarithm.
        tries: how often a part that does not fit is drawn again before the centre is taken.
    """

    size: int
    scale: tuple[float, float]
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    tries: int = 10

    @property
    def n_numbers(self) -> int:
        """Area and ratio for every try, two for the place, one for the mirror."""
        return 2 * self.tries + 3

    def __call__(self, images: Sequence[Pixels], numbers: Numbers, device: torch.device | str = "cpu") -> Tensor:
        """Return one stack `[n, 3, size, size]`."""
        sizes = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
        boxes = self.boxes(sizes, numbers)
        out = empty_stack(len(images), self.size, device)
        for row, (image, (top, left, height, width)) in enumerate(zip(images, boxes.tolist(), strict=True)):
            part = stack([image[top : top + height, left : left + width]], device)
            if numbers[row, -1] < 0.5:  # noqa: PLR2004 (every other time)
                part = part.flip(3)  # before it is resized: afterwards would round otherwise
            out[row] = resized(part, [self.size, self.size], "bilinear")[0]
        return out

    def boxes(self, sizes: NDArray[np.int64], numbers: Numbers) -> NDArray[np.int64]:
        """Return `[n, 4]`: top, left, height and width of the parts, for image sizes `[n, 2]` (height, width)."""
        area = sizes.prod(axis=1, keepdims=True) * _between(self.scale, numbers[:, 0 : 2 * self.tries : 2])
        low, high = self.ratio
        ratio = np.exp(_between((math.log(low), math.log(high)), numbers[:, 1 : 2 * self.tries : 2]))
        extents = np.rint(np.sqrt(np.stack([area / ratio, area * ratio], axis=2))).astype(np.int64)
        fits = np.all((extents > 0) & (extents <= sizes[:, None]), axis=2)
        extent = extents[np.arange(len(sizes)), fits.argmax(axis=1)]
        corner = np.floor(numbers[:, -3:-1] * (sizes - extent + 1)).astype(np.int64)
        boxes = np.concatenate([corner, extent], axis=1)
        for row in np.flatnonzero(fits.sum(axis=1) == 0):
            boxes[row] = self._centre(*sizes[row].tolist())
        return boxes

    def _centre(self, height: int, width: int) -> tuple[int, int, int, int]:
        low, high = self.ratio
        h, w = height, width
        if width / height < low:
            h = round(width / low)
        elif width / height > high:
            w = round(height * high)
        return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True, kw_only=True)
class GentleAffine:
    """Turn, shift, scale and slant a little, without a mirror image: for symbols, where mirroring changes the meaning.

    Each image is brought to size first; what comes in over the edge repeats the edge.

    Attributes:
        geometry: brings an image to size.
        degrees: turned by up to this angle either way.
        shift: moved by up to this share of the side, either way, in each direction.
        scale: larger or smaller by up to this factor, at least 1, drawn uniformly in the logarithm.
        shear: slanted by up to this angle either way, in degrees.
    """

    geometry: Geometry
    degrees: float = 10.0
    shift: float = 0.08
    scale: float = 1.15
    shear: float = 5.0

    @property
    def n_numbers(self) -> int:
        """Angle, size, two for the shift, slant."""
        return 5

    def __call__(self, images: Sequence[Pixels], numbers: Numbers, device: torch.device | str = "cpu") -> Tensor:
        """Return one stack `[n, 3, size, size]`."""
        import torch
        from torch.nn import functional as F

        upright = self.geometry(images, device).float().contiguous()
        where = torch.from_numpy(self._sources(numbers, upright.shape[2])).to(device)
        moved = F.grid_sample(upright, where, padding_mode="border", align_corners=False)
        return moved.round_().to(torch.uint8)

    def _sources(self, numbers: Numbers, size: int) -> NDArray[np.float32]:
        """Where each pixel comes from, `[n, size, size, 2]` (x, y) in [-1, 1].

        Written out and not `affine_grid`, whose matrix product may round differently for another batch size.
        """
        angle = np.radians(_between((-self.degrees, self.degrees), numbers[:, 0]))
        larger = np.exp(_between((-math.log(self.scale), math.log(self.scale)), numbers[:, 1]))
        shift = 2 * _between((-self.shift, self.shift), numbers[:, 2:4])
        slant = np.tan(np.radians(_between((-self.shear, self.shear), numbers[:, 4])))
        cosine, sine = np.cos(angle) / larger, np.sin(angle) / larger
        toward_x = np.stack([cosine, slant * cosine - sine, shift[:, 0]])[:, :, None, None]
        toward_y = np.stack([sine, slant * sine + cosine, shift[:, 1]])[:, :, None, None]
        centres = (np.arange(size) * 2 + 1) / size - 1
        x, y = centres[None, None, :], centres[None, :, None]
        return np.stack(
            [m[0] * x + m[1] * y + m[2] for m in (toward_x, toward_y)], axis=3, dtype=np.float32, casting="same_kind"
        )


def _between(bounds: tuple[float, float], numbers: Numbers) -> Numbers:
    return bounds[0] + (bounds[1] - bounds[0]) * numbers
