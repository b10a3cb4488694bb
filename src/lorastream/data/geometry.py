"""The deterministic part of a transform: from pixels of any size to the size that a backbone sees.

Pixels are uint8 `[height, width, 3]`, as they lie in the cache; torchvision resizes that memory order fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import PIL.Image
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]
Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class Shrink:
    """Bring images down to a size at which they are kept; one that is small enough is kept as it is.

    Attributes:
        size: the shorter side of what is kept, in pixels; for `whole` both sides.
        whole: both sides become `size`, whatever the aspect ratio.
        interpolation: how to resize, always with antialiasing.
    """

    size: int
    whole: bool = False
    interpolation: Interpolation = "bicubic"

    @property
    def description(self) -> str:
        """What the cache is keyed by."""
        return f"shrink size={self.size} whole={self.whole} interpolation={self.interpolation}"

    def __call__(self, image: PIL.Image.Image) -> Pixels:
        """Return the RGB image's pixels, shrunk where it is larger."""
        pixels = np.array(image)
        height, width = pixels.shape[:2]
        larger = height * width > self.size**2 if self.whole else min(height, width) > self.size
        return self.resized(pixels[None])[0] if larger else pixels

    def resized(self, pixels: Pixels) -> Pixels:
        """Return a stack `[n, height, width, 3]` at the size that is kept, enlarged where it was smaller."""
        return resized(pixels, [self.size, self.size] if self.whole else [self.size], self.interpolation)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Resize, then crop the centre.

    On what `resize` has shrunk before, it gives the same pixels as on the original: resizing to a size that an image
    already has changes nothing.

    Attributes:
        resize: to which size.
        crop: side of the square that is cut out of the middle, in pixels.
    """

    resize: Shrink
    crop: int

    def __call__(self, images: Sequence[Pixels]) -> Pixels:
        """Return the images as one stack `[n, crop, crop, 3]`."""
        if len({image.shape for image in images}) == 1:  # resizing a stack costs a fraction of resizing one by one
            return self._of_stack(np.stack(images))
        out = np.empty((len(images), self.crop, self.crop, 3), dtype=np.uint8)
        for row, image in enumerate(images):
            out[row] = self._of_stack(np.stack([image]))[0]
        return out

    def _of_stack(self, pixels: Pixels) -> Pixels:
        from torchvision.transforms.v2 import functional as F

        resized = self.resize.resized(pixels)
        if resized.shape[1:3] == (self.crop, self.crop):
            return resized
        return as_pixels(F.center_crop(as_images(resized), [self.crop, self.crop]))


def resized(pixels: Pixels, size: list[int], interpolation: Interpolation) -> Pixels:
    """Resize a writable stack `[n, height, width, 3]` with antialiasing, as torchvision's `Resize(size)` does."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    mode = InterpolationMode(interpolation)
    return as_pixels(F.resize(as_images(pixels), size, interpolation=mode, antialias=True))


def as_images(pixels: NDArray[np.generic]) -> torch.Tensor:
    """See a stack `[n, height, width, 3]` as `[n, 3, height, width]`, without a copy."""
    import torch

    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def as_pixels(images: torch.Tensor) -> Pixels:
    """See `[n, 3, height, width]` as `[n, height, width, 3]`, without a copy."""
    return images.permute(0, 2, 3, 1).numpy()
