"""What the cache keeps loses nothing: the geometry gives the same pixels on it as on the original."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode, v2

from lorastream.data.geometry import Geometry, Shrink


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_pixels(images: torch.Tensor) -> np.ndarray:
    """See `[..., 3, height, width]` as `[..., height, width, 3]`."""
    return images.movedim(-3, -1).numpy()


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), whole=st.booleans())
def test_on_what_was_kept_it_gives_the_pixels_that_the_original_gives(height: int, width: int, whole: bool) -> None:
    resize = Shrink(size=16 if whole else 20, whole=whole)
    geometry = Geometry(resize=resize, crop=16)
    original = noise(height, width)
    kept = resize(PIL.Image.fromarray(original))
    assert min(kept.shape[:2]) <= resize.size
    assert torch.equal(geometry([kept]), geometry([original]))


@pytest.mark.parametrize("size", [(8, 8), (30, 41), (20, 25), (64, 33)])
def test_it_is_torchvisions_resize_and_centre_crop(size: tuple[int, int]) -> None:
    original = noise(*size)
    theirs = v2.Compose([v2.Resize(20, interpolation=InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(16)])
    expected = theirs(torch.from_numpy(original).permute(2, 0, 1).contiguous())
    ours = Geometry(resize=Shrink(size=20), crop=16)([original])
    # The library's own two memory orders may round one level apart.
    assert (ours[0].int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("size", [(8, 8), (20, 31)])
def test_a_stack_of_equal_sizes_gives_what_each_gives_alone(size: tuple[int, int]) -> None:
    geometry = Geometry(resize=Shrink(size=20), crop=16)
    images = [noise(*size, seed=seed) for seed in range(5)]
    together = geometry(images)
    assert together.shape == (5, 3, 16, 16)
    for image, row in zip(images, together, strict=True):
        assert torch.equal(geometry([image])[0], row)


def test_images_of_many_sizes_and_none_make_a_stack() -> None:
    geometry = Geometry(resize=Shrink(size=16, whole=True), crop=16)
    images = [noise(5, 9), noise(16, 16), noise(40, 20)]
    stack = geometry(images)
    assert stack.shape == (3, 3, 16, 16)
    assert np.array_equal(as_pixels(stack[1]), images[1])
    assert geometry([]).shape == (0, 3, 16, 16)


def test_small_images_are_kept_exactly() -> None:
    original = noise(12, 31)
    assert np.array_equal(Shrink(size=12)(PIL.Image.fromarray(original)), original)
    assert Shrink(size=6)(PIL.Image.fromarray(original)).shape == (6, 15, 3)


def test_other_settings_have_other_descriptions() -> None:
    shrinks = [Shrink(size=8), Shrink(size=9), Shrink(size=8, whole=True), Shrink(size=8, interpolation="bilinear")]
    assert len({shrink.description for shrink in shrinks}) == 4
