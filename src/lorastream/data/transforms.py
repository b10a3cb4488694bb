"""From a decoded image to what a backbone sees: named presets for training and test, and the normalisation.

Presets of the papers (transforms of the released code, spec section 1.4 and 4.4):

- SD-LoRA (repository commit 8bacded): training `RandomResizedCrop(224, scale=(0.05, 1))` and a horizontal flip; test
  `Resize(256, bicubic)`, `CenterCrop(224)`; both end in [0, 1] without mean and deviation, here `zero_one`.
- InfLoRA (commit e08b00e): the same with scale (0.08, 1); its test transforms resize bilinearly, on CIFAR-100 to the
  size itself without a crop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorastream.data.augmentation import Augmentation, CropAndFlip, GentleAffine, Numbers
from lorastream.data.geometry import Geometry, Interpolation, Pixels, Shrink
from lorastream.errors import DataError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Triple = tuple[float, float, float]

TRAIN_PRESETS: Mapping[str, str] = {
    "paper": "SD-LoRA: a random part of 5 to 100 % of the area, mirrored every other time",
    "inf_lora": "InfLoRA: a random part of 8 to 100 % of the area, mirrored every other time",
    "photo": "photographs: a random part of 30 to 100 % of the area, mirrored every other time",
    "gentle": "small symbols: turned, shifted, scaled and slanted a little, never mirrored",
    "none": "no augmentation: the same as for test",
}
TEST_PRESETS: Mapping[str, str] = {
    "backbone": "resized as the backbone was evaluated, then the centre",
    "paper": "SD-LoRA: shorter side to 256/224 of the size (bicubic), then the centre",
    "squash": "both sides resized to the size, nothing cut off",
    "inf_lora": "InfLoRA: shorter side to 256/224 of the size (bilinear), then the centre",
    "inf_lora_squash": "InfLoRA on CIFAR-100: both sides resized to the size (bilinear)",
}
NORMALISATIONS: Mapping[str, str] = {
    "backbone": "mean and deviation that the backbone was pretrained with",
    "zero_one": "values in [0, 1] and no more, as the published code of SD-LoRA and InfLoRA",
}
_CROP_SCALES: Mapping[str, tuple[float, float]] = {"paper": (0.05, 1.0), "inf_lora": (0.08, 1.0), "photo": (0.3, 1.0)}


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a backbone wants to see.

    Attributes:
        image_size: side of the square, in pixels.
        mean: of each channel, for values in [0, 1].
        std: of each channel.
        interpolation: how its test images were resized.
        resize_ratio: shorter side over `image_size` before the centre crop (1 / timm's `crop_pct`), at least 1.
    """

    image_size: int
    mean: Triple
    std: Triple
    interpolation: Interpolation = "bicubic"
    resize_ratio: float = 256 / 224


@dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """Which transforms, by name.

    Attributes:
        train: one of `TRAIN_PRESETS`.
        test: one of `TEST_PRESETS`.
        normalisation: one of `NORMALISATIONS`.
        max_side: training images whose shorter side is longer are kept at this size, in pixels; at least 1.
    """

    train: str = "paper"
    test: str = "backbone"
    normalisation: str = "backbone"
    max_side: int = 512


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How one role's images are treated, in three steps.

    Attributes:
        fixed: from a decoded image to the pixels that the cache keeps.
        geometry: from those to the backbone's size, without randomness.
        augmentation: from those to the backbone's size, at random; None where there is none.
        mean: subtracted from each channel in [0, 1].
        std: each channel is divided by it afterwards.
    """

    fixed: Shrink
    geometry: Geometry
    augmentation: Augmentation | None
    mean: Triple
    std: Triple

    def plain(self, images: Sequence[Pixels], device: torch.device | str = "cpu") -> Tensor:
        """Return cached pixels at the backbone's size, not augmented: uint8 `[n, 3, size, size]` made on a device."""
        return self.geometry(images, device)

    def augmented(self, images: Sequence[Pixels], numbers: Numbers, device: torch.device | str = "cpu") -> Tensor:
        """Return the same augmented by `numbers`; see `Augmentation`."""
        if self.augmentation is None:
            return self.plain(images, device)
        return self.augmentation(images, numbers, device)

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 images as float32, contiguous, on their own device."""
        import torch
        from torchvision.transforms.v2 import functional as F

        values = F.to_dtype(images.contiguous(), torch.float32, scale=True)
        if self.mean == (0, 0, 0) and self.std == (1, 1, 1):
            return values
        return F.normalize(values, list(self.mean), list(self.std), inplace=True)


def build_transforms(spec: InputSpec, config: TransformConfig) -> tuple[Transform, Transform]:
    """Return the transforms for training and for test images.

    Raises:
        DataError: a preset is unknown, or `max_side` is not positive; all such faults at once.
    """
    _check(config)
    mean, std = (spec.mean, spec.std) if config.normalisation == "backbone" else ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    geometry = _geometry(spec, config.test)
    test = Transform(fixed=geometry.resize, geometry=geometry, augmentation=None, mean=mean, std=std)
    if config.train == "none":
        return test, test
    train = Transform(
        fixed=Shrink(size=config.max_side),
        geometry=geometry,
        augmentation=_augmentation(config.train, geometry),
        mean=mean,
        std=std,
    )
    return train, test


def _geometry(spec: InputSpec, preset: str) -> Geometry:
    size = spec.image_size
    of_preset: dict[str, Interpolation] = {"paper": "bicubic", "inf_lora": "bilinear", "inf_lora_squash": "bilinear"}
    interpolation = of_preset.get(preset, spec.interpolation)
    if preset in {"squash", "inf_lora_squash"}:
        return Geometry(resize=Shrink(size=size, whole=True, interpolation=interpolation), crop=size)
    ratio = spec.resize_ratio if preset == "backbone" else 256 / 224
    return Geometry(resize=Shrink(size=_shorter_side(size, ratio), interpolation=interpolation), crop=size)


def _shorter_side(size: int, ratio: float) -> int:
    # Rounded down as timm does (`math.floor(img_size / crop_pct)`); the small term undoes the rounding of 1 / crop_pct.
    return math.floor(size * ratio + 1e-6)


def _augmentation(preset: str, geometry: Geometry) -> Augmentation:
    if preset == "gentle":
        return GentleAffine(geometry=geometry)
    return CropAndFlip(size=geometry.crop, scale=_CROP_SCALES[preset])


def _check(config: TransformConfig) -> None:
    faults = [
        unknown_name(f"transforms.{key}", kind=kind, got=got, choices=choices)
        for key, kind, got, choices in (
            ("train", "training transform", config.train, TRAIN_PRESETS),
            ("test", "test transform", config.test, TEST_PRESETS),
            ("normalisation", "normalisation", config.normalisation, NORMALISATIONS),
        )
        if got not in choices
    ]
    if faults:
        raise DataError.of(faults)
    if config.max_side < 1:
        raise DataError(
            "transforms.max_side", expected="at least 1 pixel", got=str(config.max_side), next_step="set it to 512"
        )
