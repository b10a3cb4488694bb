"""An augmentation is a function of an image and its own numbers, with the distribution of torchvision's transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from lorastream.data.augmentation import Augmentation, CropAndFlip, GentleAffine, uniform_numbers
from lorastream.data.geometry import Geometry, Shrink

GEOMETRY = Geometry(resize=Shrink(size=16), crop=16)
AUGMENTATIONS: list[Augmentation] = [CropAndFlip(size=16, scale=(0.05, 1.0)), GentleAffine(geometry=GEOMETRY)]
MIDDLE = 0.5


def noise(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def as_pixels(images: torch.Tensor) -> np.ndarray:
    """See `[..., 3, height, width]` as `[..., height, width, 3]`."""
    return images.movedim(-3, -1).numpy()


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_image_is_treated_the_same_in_any_company(augmentation: Augmentation) -> None:
    images = [noise(9, 9, seed=seed) for seed in range(7)] + [noise(20, 11), noise(40, 30)]
    numbers = uniform_numbers(range(9), augmentation.n_numbers)
    together = augmentation(images, numbers)
    assert together.dtype == torch.uint8
    for i, image in enumerate(images):
        assert torch.equal(augmentation([image], numbers[i : i + 1])[0], together[i])
    pair = augmentation(images[:2], numbers[:2])
    assert torch.equal(pair, together[:2])


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_the_image_itself_and_the_global_random_state_stay(augmentation: Augmentation) -> None:
    image = noise(9, 9)
    image.flags.writeable = False
    before, state = image.copy(), torch.random.get_rng_state()
    result = augmentation([image], uniform_numbers([1], augmentation.n_numbers))
    assert np.array_equal(image, before)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not np.shares_memory(result.numpy(), image)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_no_images_give_an_empty_stack(augmentation: Augmentation) -> None:
    assert augmentation([], uniform_numbers([], augmentation.n_numbers)).shape == (0, 3, 16, 16)


@settings(max_examples=60)
@given(height=st.integers(1, 80), width=st.integers(1, 80), seed=st.integers(0, 2**63 - 1))
def test_a_part_lies_within_its_image(height: int, width: int, seed: int) -> None:
    crop = CropAndFlip(size=16, scale=(0.05, 1.0))
    top, left, h, w = crop.boxes(np.array([[height, width]]), uniform_numbers([seed], crop.n_numbers))[0]
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h >= 1
    assert w >= 1


def test_parts_are_distributed_as_torchvisions() -> None:
    n, size, scale, ratio = 4000, (50, 70), (0.05, 1.0), (3 / 4, 4 / 3)
    crop = CropAndFlip(size=16, scale=scale, ratio=ratio)
    ours = crop.boxes(np.tile(size, (n, 1)), uniform_numbers(range(n), crop.n_numbers))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        library = v2.RandomResizedCrop(16, scale=scale, ratio=ratio)
        drawn = [library.make_params([torch.empty(3, *size)]) for _ in range(n)]
    theirs = np.array([[p["top"], p["left"], p["height"], p["width"]] for p in drawn])
    for column in range(4):  # mean and deviation within four standard errors of the mean
        tolerance = 4 * theirs[:, column].std() * np.sqrt(2 / n)
        assert abs(ours[:, column].mean() - theirs[:, column].mean()) < tolerance
        assert abs(ours[:, column].std() - theirs[:, column].std()) < tolerance


def test_golden_part_without_a_try_that_fails() -> None:
    crop = CropAndFlip(size=16, scale=(0.25, 0.25), tries=1)
    # A quarter of 40 x 40 at ratio 1 is 20 x 20; of the 21 places each way, 0.5 takes the 10th and 0.99 the 20th.
    assert crop.boxes(np.array([[40, 40]]), np.array([[0.3, 0.5, 0.5, 0.99, 0.0]])).tolist() == [[10, 20, 20, 20]]


def test_where_no_part_fits_the_centre_is_taken() -> None:
    crop = CropAndFlip(size=16, scale=(1.0, 1.0), tries=1)
    # All of the area of 10 x 100 at ratio 1 would be 32 pixels high. The centre at most 4/3 as wide as high: 10 x 13.
    assert crop.boxes(np.array([[10, 100]]), np.full((1, 5), MIDDLE)).tolist() == [[0, 43, 10, 13]]
    assert crop.boxes(np.array([[100, 10]]), np.full((1, 5), MIDDLE)).tolist() == [[43, 0, 13, 10]]


def test_the_whole_image_comes_back_and_mirrored_for_small_last_numbers() -> None:
    crop = CropAndFlip(size=16, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    image = noise(16, 16)
    numbers = np.full((2, crop.n_numbers), MIDDLE)
    numbers[1, -1] = 0.49
    plain, mirrored = as_pixels(crop([image, image], numbers))
    assert np.array_equal(plain, image)
    assert np.array_equal(mirrored, image[:, ::-1])


def test_gentle_in_the_middle_of_all_ranges_changes_nothing() -> None:
    gentle = GentleAffine(geometry=GEOMETRY)
    image = noise(16, 16)
    assert np.array_equal(as_pixels(gentle([image], np.full((1, 5), MIDDLE))[0]), image)


def test_gentle_shifts_by_the_stated_share() -> None:
    gentle = GentleAffine(geometry=GEOMETRY, shift=0.125)  # 2 of 16 pixels
    image = noise(16, 16)
    numbers = np.full((1, 5), MIDDLE)
    numbers[0, 2] = 1.0  # what is seen comes from two pixels further right
    shifted = as_pixels(gentle([image], numbers)[0])
    assert np.array_equal(shifted[:, :-2], image[:, 2:])
    assert np.array_equal(shifted[:, -1], image[:, -1])  # the edge is repeated


def test_gentle_turns_about_the_centre() -> None:
    gentle = GentleAffine(geometry=GEOMETRY, degrees=90)
    image = noise(16, 16)
    numbers = np.full((1, 5), MIDDLE)
    numbers[0, 0] = 1.0
    turned = as_pixels(gentle([image], numbers)[0])
    difference = np.abs(turned.astype(int) - np.rot90(image).astype(int)).max()
    assert min(difference, np.abs(turned.astype(int) - np.rot90(image, -1).astype(int)).max()) <= 1


def test_numbers_are_uniform_and_each_row_is_its_own_seeds() -> None:
    numbers = uniform_numbers(range(500), 20)
    assert numbers.shape == (500, 20)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / numbers.size)
    assert abs(numbers.var() - 1 / 12) < 0.003
    assert np.abs(np.corrcoef(numbers.T) - np.eye(20)).max() < 0.2
    assert np.array_equal(uniform_numbers([7, 3], 20), numbers[[7, 3]])
