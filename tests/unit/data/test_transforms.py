"""Presets by name become transforms; prepared images are what torchvision's own steps would give."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import v2

from lorastream.data.augmentation import CropAndFlip, GentleAffine, uniform_numbers
from lorastream.data.transforms import (
    NORMALISATIONS,
    TEST_PRESETS,
    TRAIN_PRESETS,
    InputSpec,
    TransformConfig,
    build_transforms,
)
from lorastream.errors import DataError

VIT = InputSpec(image_size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize_ratio=1 / 0.9)


@pytest.mark.parametrize("test", TEST_PRESETS)
@pytest.mark.parametrize("train", TRAIN_PRESETS)
def test_every_pair_of_presets_gives_images_of_the_backbones_size(train: str, test: str, spec: InputSpec) -> None:
    for transform in build_transforms(spec, TransformConfig(train=train, test=test)):
        kept = transform.fixed(PIL.Image.new("RGB", (40, 24), (255, 0, 0)))
        n_numbers = 0 if transform.augmentation is None else transform.augmentation.n_numbers
        for images in (transform.plain([kept]), transform.augmented([kept], uniform_numbers([1], n_numbers))):
            assert images.dtype == torch.uint8
            assert images.shape == (1, 3, 16, 16)
            assert images[0, :, 8, 8].tolist() == [255, 0, 0]


def test_the_papers_presets_have_the_papers_numbers() -> None:
    train, test = build_transforms(VIT, TransformConfig(train="paper", test="paper", normalisation="zero_one"))
    assert train.augmentation == CropAndFlip(size=224, scale=(0.05, 1.0), ratio=(3 / 4, 4 / 3))
    assert (test.geometry.resize.size, test.geometry.resize.interpolation, test.geometry.crop) == (256, "bicubic", 224)
    assert (test.mean, test.std) == ((0, 0, 0), (1, 1, 1))
    inf_lora, test = build_transforms(VIT, TransformConfig(train="inf_lora", test="inf_lora"))
    assert inf_lora.augmentation == CropAndFlip(size=224, scale=(0.08, 1.0))
    assert (test.geometry.resize.size, test.geometry.resize.interpolation, test.geometry.crop) == (256, "bilinear", 224)
    _, cifar = build_transforms(VIT, TransformConfig(test="inf_lora_squash"))
    resize = cifar.geometry.resize
    assert (resize.size, resize.whole, resize.interpolation) == (224, True, "bilinear")


def test_the_backbones_preset_resizes_as_timm_does() -> None:
    _, test = build_transforms(VIT, TransformConfig())
    assert test.geometry.resize.size == 248  # floor(224 / 0.9)
    imagenet = InputSpec(image_size=224, mean=(0, 0, 0), std=(1, 1, 1), interpolation="bilinear")
    _, test = build_transforms(imagenet, TransformConfig())
    assert (test.geometry.resize.size, test.geometry.resize.interpolation) == (256, "bilinear")


def test_symbols_are_never_mirrored_and_squash_cuts_nothing_off(spec: InputSpec) -> None:
    train, test = build_transforms(spec, TransformConfig(train="gentle", test="squash"))
    assert isinstance(train.augmentation, GentleAffine)
    left_dark = np.zeros((8, 40, 3), dtype=np.uint8)
    left_dark[:, 20:] = 255
    image = test.plain([left_dark])[0, 0]
    assert (image[:, 0] == 0).all()
    assert (image[:, -1] == 255).all()


def test_training_images_are_only_shrunk_beyond_max_side(spec: InputSpec) -> None:
    train, _ = build_transforms(spec, TransformConfig(max_side=32))
    assert train.fixed(PIL.Image.new("RGB", (90, 30))).shape == (30, 90, 3)
    assert train.fixed(PIL.Image.new("RGB", (90, 64))).shape == (32, 45, 3)


def test_training_images_without_augmentation_look_as_test_images(spec: InputSpec) -> None:
    train, test = build_transforms(spec, TransformConfig())
    image = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    assert torch.equal(train.plain([train.fixed(image)]), test.plain([test.fixed(image)]))


def test_no_augmentation_is_the_test_transform(spec: InputSpec) -> None:
    train, test = build_transforms(spec, TransformConfig(train="none"))
    assert train == test


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_normalisation_is_torchvisions(normalisation: str, spec: InputSpec) -> None:
    transform, _ = build_transforms(spec, TransformConfig(normalisation=normalisation))
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    values = transform.normalise(images)
    expected = v2.functional.to_dtype(images, torch.float32, scale=True)
    if normalisation == "backbone":
        expected = v2.functional.normalize(expected, list(spec.mean), list(spec.std))
    assert values.dtype == torch.float32
    assert values.is_contiguous()
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-6)


def test_unknown_presets_are_all_named_at_once_with_the_nearest(spec: InputSpec) -> None:
    config = TransformConfig(train="papr", test="sqash", normalisation="one_zero")
    with pytest.raises(DataError) as caught:
        build_transforms(spec, config)
    assert len(caught.value.faults) == 3
    assert "'paper'" in caught.value.faults[0].next_step
    assert "'squash'" in caught.value.faults[1].next_step


def test_a_max_side_of_nothing_is_refused(spec: InputSpec) -> None:
    with pytest.raises(DataError, match="max_side"):
        build_transforms(spec, TransformConfig(max_side=0))


def test_names_are_listed_without_loading_torch() -> None:
    code = (
        "import sys, lorastream.data.transforms, lorastream.data.stream, lorastream.data.cache\n"
        "from lorastream.data import sources\n"
        "[sources.summary(name) for name in sources.names()]\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'pyarrow', 'datasets'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
