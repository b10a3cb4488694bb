"""timm's transform, made from the words that travel, prepares a picture as lorastream does."""

from __future__ import annotations

import math

import numpy as np
import PIL.Image
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorastream.data.transforms import TEST_PRESETS, InputSpec, TransformConfig, build_transforms
from lorastream.export.preprocessing import crop_part, preprocessing


@given(crop=st.integers(1, 600), more=st.integers(0, 300))
def test_timm_resizes_to_the_very_size(crop: int, more: int) -> None:
    assert math.floor(crop / crop_part(crop, crop + more)) == crop + more


def test_round_numbers_stay_round() -> None:
    assert crop_part(224, 256) == 0.875
    assert crop_part(224, 224) == 1.0
    assert crop_part(224, 248) == 0.903


@pytest.mark.parametrize("test", TEST_PRESETS)
@pytest.mark.parametrize("normalisation", ["backbone", "zero_one"])
def test_a_picture_is_prepared_alike(test: str, normalisation: str) -> None:
    spec = InputSpec(image_size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    _, transform = build_transforms(spec, TransformConfig(test=test, normalisation=normalisation))
    ramp = np.linspace(0, 255, 90 * 70 * 3).reshape(90, 70, 3).astype(np.uint8)
    picture = PIL.Image.fromarray(ramp)
    expected = transform.normalise(transform.plain([transform.fixed(picture)]))
    got = timm.data.create_transform(**preprocessing(transform))(picture)[None]
    assert got.shape == expected.shape
    levels = (got - expected).abs() * torch.tensor(transform.std).view(1, 3, 1, 1) * 255
    assert levels.max() <= 2.01
