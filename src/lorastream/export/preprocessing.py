"""How a picture becomes a network's input, in words that other libraries know."""

from __future__ import annotations

import math
from typing import Any

from lorastream.data.transforms import Transform


def preprocessing(transform: Transform) -> dict[str, Any]:
    """Return a test transform as keywords of `timm.data.create_transform`.

    timm resizes the shorter side (with `crop_mode="squash"` both sides) to `floor(size / crop_pct)`, cuts out the
    centre and normalises. It resizes with Pillow, lorastream with torchvision: a pixel may differ by a level or two.
    """
    crop, resize = transform.geometry.crop, transform.geometry.resize
    return {
        "input_size": [3, crop, crop],
        "interpolation": resize.interpolation,
        "mean": list(transform.mean),
        "std": list(transform.std),
        "crop_pct": crop_part(crop, resize.size),
        "crop_mode": "squash" if resize.whole else "center",
    }


def crop_part(crop: int, size: int) -> float:
    """Return the part p with `floor(crop / p) == size`: a round number where one does."""
    rounded = (round(crop / size, digits) for digits in (3, 4, 5, 6))
    return next((part for part in rounded if math.floor(crop / part) == size), crop / (size + 0.5))
