"""Batches hold every image once, and each image is treated the same whatever the shard, the start or the past."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorastream.data import sources
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.task import Batch, Task
from lorastream.data.transforms import InputSpec, TransformConfig, build_transforms
from lorastream.errors import DataError

BATCHES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pixels")


def task_of(folder: Path, *, train: str = "paper", seed: int = 0, index: int = 1) -> Task:
    dataset = sources.load("synthetic", n_classes=4, images_per_class=9, test_images_per_class=4, size=12)
    spec = InputSpec(image_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    transforms = build_transforms(spec, TransformConfig(train=train))
    return Stream.of(dataset, config=StreamConfig(tasks=2), seed=seed, transforms=transforms, cache=folder)[index]


def in_order_of_images(batches: list[Batch]) -> torch.Tensor:
    images = torch.cat([batch.images for batch in batches])
    return images[torch.cat([batch.indices for batch in batches]).argsort()]


@BATCHES
@given(
    size=st.integers(1, 20), n_processes=st.integers(1, 5), epoch=st.none() | st.integers(0, 3), start=st.integers(0, 4)
)
def test_shards_are_a_partition_of_every_batch(
    size: int, n_processes: int, epoch: int | None, start: int, folder: Path
) -> None:
    images = task_of(folder).train
    whole = list(images.batches(size, epoch=epoch))
    assert len(whole) == images.n_batches(size)
    shards = [
        list(images.batches(size, epoch=epoch, shard=(rank, n_processes), start=start)) for rank in range(n_processes)
    ]
    for shard in shards:
        assert len(shard) == max(len(whole) - start, 0)
    for number, batch in enumerate(whole[start:]):
        parts = [shard[number] for shard in shards]
        indices = torch.cat([part.indices for part in parts]).tolist()
        assert sorted(indices) == sorted(batch.indices.tolist())
        assert {part.global_size for part in parts} == {len(batch)}
        assert torch.equal(in_order_of_images(parts), in_order_of_images([batch]))  # augmented the same, bit for bit


@BATCHES
@given(size=st.integers(1, 20), epoch=st.none() | st.integers(0, 100))
def test_every_image_comes_once_under_its_own_label(size: int, epoch: int | None, folder: Path) -> None:
    images = task_of(folder).train
    batches = list(images.batches(size, epoch=epoch))
    indices = torch.cat([batch.indices for batch in batches])
    assert sorted(indices.tolist()) == list(range(18))
    assert torch.cat([batch.labels for batch in batches]).tolist() == images.labels[indices.numpy()].tolist()
    assert set(images.labels.tolist()) == {2, 3}
    if epoch is None:
        assert indices.tolist() == list(range(18))


def test_what_a_batch_is_made_of(folder: Path) -> None:
    batch = next(task_of(folder).train.batches(5, epoch=0))
    assert (batch.images.dtype, batch.images.shape) == (torch.float32, (5, 3, 16, 16))
    assert batch.images.is_contiguous()
    assert (batch.labels.dtype, batch.indices.dtype, batch.global_size, len(batch)) == (torch.int64, torch.int64, 5, 5)


@pytest.mark.parametrize("preset", ["paper", "gentle"])
def test_an_images_augmentation_does_not_depend_on_the_size_of_its_batch(preset: str, folder: Path) -> None:
    images = task_of(folder, train=preset).train
    one, other = (in_order_of_images(list(images.batches(size, epoch=3))) for size in (1, 7))
    assert torch.equal(one, other)


def test_epochs_tasks_and_seeds_differ_and_each_repeats(folder: Path) -> None:
    drawn = {}
    for seed, index, epoch in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)):
        images = task_of(folder, seed=seed, index=index).train
        first, again = (next(images.batches(18, epoch=epoch)) for _ in range(2))
        assert torch.equal(first.images, again.images)
        assert torch.equal(first.indices, again.indices)
        drawn[seed, index, epoch] = first
    assert len({tuple(batch.indices.tolist()) for batch in drawn.values()}) == 4
    assert not torch.equal(in_order_of_images([drawn[0, 0, 0]]), in_order_of_images([drawn[0, 0, 1]]))


def test_without_an_epoch_training_images_look_as_test_images_do(folder: Path) -> None:
    task = task_of(folder)
    train, test = task.train, task.test
    (batch,) = train.batches(100)
    pixels = [train.store.pixels(row) for row in train.rows]
    assert torch.equal(batch.images, test.transform.normalise(test.transform.plain(pixels)))
    augmented = in_order_of_images(list(train.batches(100, epoch=0)))
    assert not torch.equal(batch.images, augmented)


def test_test_images_are_never_augmented(folder: Path) -> None:
    images = task_of(folder).test
    assert torch.equal(in_order_of_images(list(images.batches(3, epoch=0))), next(images.batches(8)).images)


def test_the_global_random_states_are_neither_read_nor_moved(folder: Path) -> None:
    images = task_of(folder).train
    torch.manual_seed(1)
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = next(images.batches(18, epoch=0)).images
    assert torch.equal(state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    torch.manual_seed(2)
    assert torch.equal(first, next(images.batches(18, epoch=0)).images)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_prepared_ahead_are_the_same_in_the_same_order(workers: int, folder: Path) -> None:
    images = task_of(folder).train
    pairs = zip(images.batches(4, epoch=1), images.batches(4, epoch=1, workers=workers), strict=True)
    for now, ahead in pairs:
        assert torch.equal(now.indices, ahead.indices)
        assert torch.equal(now.images, ahead.images)


def test_a_loop_that_stops_early_leaves_no_thread_behind(folder: Path) -> None:
    before = threading.active_count()
    batches = task_of(folder).train.batches(2, epoch=0, workers=2)
    next(batches)
    assert threading.active_count() > before
    del batches
    assert threading.active_count() == before


@given(n=st.integers(0, 30), n_parts=st.integers(1, 12))
def test_micro_batches_are_a_partition_of_nearly_equal_sizes(n: int, n_parts: int) -> None:
    batch = Batch(
        images=torch.arange(n, dtype=torch.float32)[:, None, None, None],
        labels=torch.arange(n),
        indices=torch.arange(n) + 5,
        global_size=99,
    )
    parts = batch.split(n_parts)
    assert len(parts) == max(1, min(n_parts, n))
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert {part.global_size for part in parts} == {99}


def test_a_batch_moves_as_a_whole(folder: Path) -> None:
    batch = next(task_of(folder).train.batches(4)).to("meta")
    assert {batch.images.device.type, batch.labels.device.type, batch.indices.device.type} == {"meta"}
    direct = next(task_of(folder).train.batches(4, device="meta"))
    assert direct.images.device.type == "meta"
    assert direct.images.dtype == torch.float32


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": 4, "start": -1}, {"size": 4, "shard": (2, 2)}, {"size": 4, "shard": (-1, 2)}]
)
def test_arguments_out_of_range_are_refused_at_once(wrong: dict[str, int], folder: Path) -> None:
    with pytest.raises(DataError, match=r"TaskImages\.batches"):
        task_of(folder).train.batches(**wrong)
