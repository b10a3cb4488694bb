"""The deterministic part of a transform: from pixels of any size to the size that a backbone sees.

Pixels are uint8 `[height, width, 3]`, as they lie in the cache. Stacks of them are tensors `[n, 3, height, width]` in
the same memory order, which torchvision resizes fastest, on the device that does the work.
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
    from torch import Tensor

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
        return self.resized(stack([pixels])).permute(0, 2, 3, 1).numpy()[0] if larger else pixels

    def resized(self, images: Tensor) -> Tensor:
        """Return a stack `[n, 3, height, width]` at the size that is kept, enlarged where it was smaller."""
        return resized(images, [self.size, self.size] if self.whole else [self.size], self.interpolation)


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

    def __call__(self, images: Sequence[Pixels], device: torch.device | str = "cpu") -> Tensor:
        """Return the images as one stack `[n, 3, crop, crop]`, uint8, made on a device."""
        if len({image.shape for image in images}) == 1:  # resizing a stack costs a fraction of resizing one by one
            return self._of_stack(stack(images, device))
        out = empty_stack(len(images), self.crop, device)
        for row, image in enumerate(images):
            out[row] = self._of_stack(stack([image], device))[0]
        return out

    def _of_stack(self, images: Tensor) -> Tensor:
        from torchvision.transforms.v2 import functional as F

        resized, square = self.resize.resized(images), (self.crop, self.crop)
        return resized if resized.shape[2:] == square else F.center_crop(resized, list(square))


def resized(images: Tensor, size: list[int], interpolation: Interpolation) -> Tensor:
    """Resize a stack `[n, 3, height, width]` with antialiasing, as torchvision's `Resize(size)` does."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    return F.resize(images, size, interpolation=InterpolationMode(interpolation), antialias=True)


def stack(images: Sequence[Pixels], device: torch.device | str = "cpu") -> Tensor:
    """Return pixels of one size `[height, width, 3]` as a stack `[n, 3, height, width]` of its own on a device."""
    import torch

    return torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2)


def empty_stack(n: int, size: int, device: torch.device | str) -> Tensor:
    """Return an uint8 stack `[n, 3, size, size]` to be filled."""
    import torch

    return torch.empty(n, size, size, 3, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
