"""A stream deals every image of the classes it uses to one task, labelled by order of arrival."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from lorastream.data import sources
from lorastream.data.images import Dataset, Images
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.transforms import InputSpec, Transform, TransformConfig, build_transforms
from lorastream.errors import DataError

MakeImages = Callable[..., Images]


@pytest.fixture
def transforms(spec: InputSpec) -> tuple[Transform, Transform]:
    return build_transforms(spec, TransformConfig())


@pytest.fixture
def dataset() -> Dataset:
    return sources.load("synthetic", n_classes=6, images_per_class=5, test_images_per_class=3, size=16)


def test_tasks_hold_their_classes_images_under_labels_of_arrival(
    dataset: Dataset, transforms: tuple[Transform, Transform]
) -> None:
    stream = Stream.of(dataset, config=StreamConfig(tasks=3), seed=1993, transforms=transforms)
    order = np.random.RandomState(1993).permutation(6).tolist()
    assert stream.class_names == tuple(f"pattern {label}" for label in order)
    assert len(stream) == 3
    for index, task in enumerate(stream):
        assert task.index == index
        assert task.classes == range(2 * index, 2 * index + 2)
        assert task.first_class == 2 * index
        assert task.n_classes_seen == 2 * index + 2
        assert task.class_names == stream.task_class_names[index] == stream.class_names[2 * index : 2 * index + 2]
        assert set(task.train.labels) == set(task.test.labels) == {*task.classes}
        assert (len(task.train), len(task.test)) == (10, 6)
        for role, images in ((dataset.train, task.train), (dataset.test, task.test)):
            for name, label in zip(images.names, images.labels, strict=True):
                natural = role.labels[list(role.names).index(name)]
                assert dataset.class_names[natural] == stream.class_names[label]


def test_every_image_is_in_one_task(dataset: Dataset, transforms: tuple[Transform, Transform]) -> None:
    stream = Stream.of(dataset, config=StreamConfig(sizes=(1, 2, 3)), seed=0, transforms=transforms)
    names = [name for task in stream for name in task.train.names]
    assert sorted(names) == sorted(dataset.train.names)


def test_pixels_are_those_of_the_image_named(dataset: Dataset, transforms: tuple[Transform, Transform]) -> None:
    task = Stream.of(dataset, config=StreamConfig(tasks=3), seed=3, transforms=transforms)[1]
    (batch,) = task.test.batches(100)
    for image, name in zip(batch.images, task.test.names, strict=True):
        original = dataset.test.read(list(dataset.test.names).index(name))
        expected = transforms[1].normalise(transforms[1].plain([transforms[1].fixed(original)]))[0]
        assert torch.equal(image, expected)


def test_tasks_can_be_counted_from_the_end_and_not_beyond(
    dataset: Dataset, transforms: tuple[Transform, Transform]
) -> None:
    stream = Stream.of(dataset, config=StreamConfig(tasks=3), seed=0, transforms=transforms)
    assert stream[-1].index == 2
    assert stream[-1].class_names == stream[2].class_names
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            stream[wrong]
        with pytest.raises(IndexError):
            stream.joined(wrong)


def test_joined_tasks_hold_all_classes_so_far(dataset: Dataset, transforms: tuple[Transform, Transform]) -> None:
    stream = Stream.of(dataset, config=StreamConfig(tasks=3), seed=0, transforms=transforms)
    joined = stream.joined(1)
    assert (joined.index, joined.first_class, joined.n_classes_seen) == (1, 0, 4)
    assert joined.class_names == stream.class_names[:4]
    assert sorted(joined.train.names) == sorted([*stream[0].train.names, *stream[1].train.names])
    assert set(joined.test.labels) == {0, 1, 2, 3}


def test_a_limit_takes_the_first_images_of_each_class(
    dataset: Dataset, transforms: tuple[Transform, Transform]
) -> None:
    config = StreamConfig(tasks=3, order="natural")
    stream = Stream.of(
        dataset, config=config, seed=0, transforms=transforms, images_per_class=2, test_images_per_class=9
    )
    assert list(stream[0].train.names) == [f"synthetic[train, {i}]" for i in (0, 1, 5, 6)]
    assert len(stream[0].test) == 6  # a class has no more than 3


@pytest.mark.parametrize("key", ["images_per_class", "test_images_per_class"])
def test_a_limit_of_nothing_is_refused(key: str, dataset: Dataset, transforms: tuple[Transform, Transform]) -> None:
    with pytest.raises(DataError, match=key):
        Stream.of(dataset, config=StreamConfig(tasks=3), seed=0, transforms=transforms, **{key: 0})


def test_the_class_order_can_have_its_own_seed(dataset: Dataset, transforms: tuple[Transform, Transform]) -> None:
    first, second = (
        Stream.of(dataset, config=StreamConfig(tasks=3), seed=seed, transforms=transforms, class_order_seed=5)
        for seed in (0, 1)
    )
    assert first.class_names == second.class_names
    orders = [next(s[0].train.batches(10, epoch=0)).indices.tolist() for s in (first, second)]
    assert orders[0] != orders[1]


def test_streams_of_other_orders_share_one_cache(
    dataset: Dataset, transforms: tuple[Transform, Transform], tmp_path: Path
) -> None:
    for seed in range(3):
        Stream.of(dataset, config=StreamConfig(tasks=3), seed=seed, transforms=transforms, cache=tmp_path / "c")
    assert len(list((tmp_path / "c").iterdir())) == 2  # training and test


def test_only_classes_that_are_used_are_decoded(dataset: Dataset, transforms: tuple[Transform, Transform]) -> None:
    told: list[tuple[int, int]] = []
    config = StreamConfig(classes=(("pattern 4",),))
    Stream.of(dataset, config=config, seed=0, transforms=transforms, progress=lambda *done: told.append(done))
    assert told[-1] == (3, 3)
    assert (5, 5) in told
    assert len(told) == 8


@pytest.mark.parametrize("role", ["train", "test"])
def test_a_class_without_images_is_named(
    role: str, random_images: MakeImages, transforms: tuple[Transform, Transform]
) -> None:
    full, lacking = random_images([(4, 4)] * 2, [0, 1]), random_images([(4, 4)] * 2, [0, 0])
    parts = {"train": full, "test": full} | {role: lacking}
    dataset = Dataset(name="pets", class_names=("cat", "dog"), **parts)
    with pytest.raises(DataError, match=rf"pets(.|\n)*{'training' if role == 'train' else 'test'} image(.|\n)*'dog'"):
        Stream.of(dataset, config=StreamConfig(tasks=2), seed=0, transforms=transforms)
    assert len(Stream.of(dataset, config=StreamConfig(classes=(("cat",),)), seed=0, transforms=transforms)) == 1


def test_a_source_may_hold_out_nothing(random_images: MakeImages, transforms: tuple[Transform, Transform]) -> None:
    train, none = random_images([(4, 4)] * 2, [0, 1]), random_images([], [])
    dataset = Dataset(name="pets", class_names=("cat", "dog"), train=train, test=none)
    task = Stream.of(dataset, config=StreamConfig(tasks=2), seed=0, transforms=transforms)[0]
    assert len(task.test) == 0
    assert list(task.test.batches(8)) == []


def test_the_fingerprint_is_of_the_images_and_their_classes_alone(
    tmp_path: Path, transforms: tuple[Transform, Transform]
) -> None:
    def fingerprint(root: Path, seed: int = 0) -> str:
        dataset = sources.load("folder", root=str(root))
        config = StreamConfig(tasks=2, order="seed")
        return Stream.of(dataset, config=config, seed=seed, transforms=transforms, cache=tmp_path / "cache").fingerprint

    here, there = tmp_path / "here", tmp_path / "there"
    for place in (f"{role}/{name}" for role in ("train", "test") for name in ("cat", "dog")):
        (here / place).mkdir(parents=True)
        PIL.Image.new("RGB", (16, 16), (len(place), 0, 0)).save(here / place / "1.png")
    shutil.copytree(here, there)
    os.utime(there / "train" / "cat" / "1.png", (0, 0))
    assert fingerprint(here) == fingerprint(there) == fingerprint(here, seed=1)
    PIL.Image.new("RGB", (16, 16), (len("train/cat"), 0, 1)).save(there / "train" / "cat" / "1.png")
    assert fingerprint(there) != fingerprint(here)
    for role in ("train", "test"):
        (here / role / "cat").rename(here / role / "bat")
    assert fingerprint(here) != fingerprint(there)
