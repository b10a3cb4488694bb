"""What a method is given: tasks, and batches of their images."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from lorastream.data.augmentation import uniform_numbers
from lorastream.data.cache import PixelStore
from lorastream.data.transforms import Transform
from lorastream.errors import DataError
from lorastream.randomness import Randomness

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Batch:
    """Some images of one task, ready for the backbone.

    Attributes:
        images: float32 `[n, 3, size, size]`, normalised.
        labels: int64 `[n]`, positions in the order of arrival, from 0 to the number of classes seen less 1.
        indices: int64 `[n]`, positions within the task's images.
        global_size: images of this batch over all processes and micro-batches: what a sum of losses is divided by.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    global_size: int

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with all tensors on `device`."""
        return replace(
            self, images=self.images.to(device), labels=self.labels.to(device), indices=self.indices.to(device)
        )

    def split(self, n_parts: int) -> list[Batch]:
        """Return at most `n_parts` micro-batches of nearly equal size, none empty, all with the same `global_size`."""
        n_parts = max(1, min(n_parts, len(self)))
        parts = zip(*(tensor.tensor_split(n_parts) for tensor in (self.images, self.labels, self.indices)), strict=True)
        return [replace(self, images=images, labels=labels, indices=indices) for images, labels, indices in parts]


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskImages:
    """The images of one task in one role, training or test.

    Attributes:
        store: where the pixels lie.
        rows: int64 `[n]`, the images' positions in the store.
        labels: int64 `[n]`, positions in the order of arrival.
        names: `[n]`, where the images come from.
        transform: of the role; its geometry is that of test images in both roles.
        randomness: of the run.
        task: index of the task, from 0.
    """

    store: PixelStore
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: Sequence[str] = field(repr=False)
    transform: Transform
    randomness: Randomness
    task: int

    def __len__(self) -> int:
        return len(self.rows)

    def n_batches(self, size: int) -> int:
        """Return the number of batches of `size` images that hold all images once; the last may be smaller."""
        return math.ceil(len(self) / size)

    def picture(self, index: int) -> PIL.Image.Image:
        """Return image `index` of the task as it lies in the cache, to look at."""
        return PIL.Image.fromarray(self.store.pixels(int(self.rows[index])))

    def batches(
        self,
        size: int,
        *,
        epoch: int | None = None,
        shard: tuple[int, int] = (0, 1),
        start: int = 0,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yield every image once.

        What is in batch b of an epoch, and how each image of it is augmented, follows from the run's seed, the task,
        the epoch and the image alone: not from the shard, from `start`, or from what was drawn before.

        Args:
            size: images of a batch over all processes, at least 1; the last batch may be smaller.
            epoch: None for the order of the source and no augmentation, as test images are seen, also for training
                images; from 0 for a shuffled epoch with augmentation.
            shard: rank and number of processes. Each yields its part of every batch, so all yield equally often; a part
                may be empty where the last batch has fewer images than there are processes.
            start: the first batch to yield, from 0.
            device: where the tensors are to be; pixels travel there as bytes, are resized, augmented and normalised
                there.
            workers: threads that prepare later batches meanwhile; 0 prepares each when it is asked for.

        Raises:
            DataError: `size`, `shard` or `start` is out of range.
        """
        rank, n_processes = shard
        if size < 1 or start < 0 or not 0 <= rank < n_processes:
            raise DataError(
                "TaskImages.batches",
                expected="size at least 1, start at least 0, shard (rank, processes) with rank from 0 below processes",
                got=f"size={size}, start={start}, shard={shard}",
                next_step="correct the argument",
            )
        order = self._order(epoch)
        wholes = [order[first : first + size] for first in range(start * size, len(order), size)]
        parts = ((whole[rank::n_processes], len(whole)) for whole in wholes)
        prepared = ahead(parts, lambda part: (self._images(part[0], epoch, device), *part), workers)
        return (self._batch(images, indices, global_size, device) for images, indices, global_size in prepared)

    def _order(self, epoch: int | None) -> NDArray[np.int64]:
        if epoch is None:
            return np.arange(len(self))
        return self.randomness.numpy("batches", self.task, epoch).permutation(len(self))

    def _images(self, indices: NDArray[np.int64], epoch: int | None, device: torch.device | str) -> Tensor:
        pixels = [self.store.pixels(row) for row in self.rows[indices].tolist()]
        augmentation = self.transform.augmentation
        if epoch is None or augmentation is None:
            return self.transform.plain(pixels, device)
        seeds = [self.randomness.number("augmentation", self.task, epoch, index) for index in indices.tolist()]
        return self.transform.augmented(pixels, uniform_numbers(seeds, augmentation.n_numbers), device)

    def _batch(self, images: Tensor, indices: NDArray[np.int64], global_size: int, device: torch.device | str) -> Batch:
        return Batch(
            images=self.transform.normalise(images.to(device)),
            labels=torch.from_numpy(self.labels[indices]).to(device),
            indices=torch.from_numpy(indices.copy()).to(device),
            global_size=global_size,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Classes that arrive together, and their images.

    Attributes:
        index: from 0.
        class_names: of this task's classes, in order of arrival.
        first_class: number of classes known before.
        train: images to learn from.
        test: images of the same classes to evaluate on.
    """

    index: int
    class_names: tuple[str, ...]
    first_class: int
    train: TaskImages
    test: TaskImages

    @property
    def classes(self) -> range:
        """Positions of this task's classes in the order of arrival: its labels."""
        return range(self.first_class, self.first_class + len(self.class_names))

    @property
    def n_classes_seen(self) -> int:
        """Number of classes known once the task is learnt."""
        return self.first_class + len(self.class_names)


def ahead(items: Iterator[Item], prepare: Callable[[Item], Result], workers: int) -> Iterator[Result]:
    """Yield what `prepare` makes of each item, in order, up to `workers` of them made before they are asked for."""
    if workers == 0:
        yield from map(prepare, items)
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(prepare, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
