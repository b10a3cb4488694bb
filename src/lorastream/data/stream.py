"""Classes of a dataset, arriving as a stream of tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lorastream.data.cache import PixelStore, Progress, materialise
from lorastream.data.images import Dataset, Images, count_by_class, fingerprint_of
from lorastream.data.split import StreamConfig, deal_classes
from lorastream.errors import DataError
from lorastream.randomness import Randomness

if TYPE_CHECKING:
    from lorastream.data.task import Task, TaskImages
    from lorastream.data.transforms import Transform

__all__ = ["RoleImages", "Stream", "StreamConfig"]


class Stream:
    """Tasks in order of arrival: iterate, index, or join the first ones.

    Attributes:
        name: of the dataset.
        task_class_names: names of each task's classes, in order of arrival.
        train: the pixels of all training images.
        test: the pixels of all test images.
    """

    def __init__(
        self,
        *,
        name: str,
        task_class_names: Sequence[Sequence[str]],
        train: RoleImages,
        test: RoleImages,
        randomness: Randomness,
    ) -> None:
        self.name = name
        self.task_class_names = tuple(tuple(names) for names in task_class_names)
        self.train = train
        self.test = test
        self.randomness = randomness
        self._ends = np.cumsum([len(names) for names in self.task_class_names]).tolist()

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        config: StreamConfig,
        seed: int,
        transforms: tuple[Transform, Transform],
        cache: Path | None = None,
        progress: Progress | None = None,
        class_order_seed: int | None = None,
        images_per_class: int | None = None,
        test_images_per_class: int | None = None,
    ) -> Stream:
        """Deal out the classes of a dataset and decode their images into the cache.

        Args:
            dataset: where classes and images come from.
            config: how the classes are dealt out.
            seed: of the run: order of images, augmentation and, unless said otherwise, order of classes.
            transforms: for training and for test images.
            cache: folder of decoded images; None for the usual one.
            progress: told the number of images decoded and of all, for each role anew.
            class_order_seed: seed of the class order alone; None for `seed`.
            images_per_class: at most so many training images of each class, the first in the source's order.
            test_images_per_class: the same for test images.

        Raises:
            DataError: classes cannot be dealt out so, one of them has no images, or an image is broken.
        """
        dealt = deal_classes(dataset.class_names, config, seed=seed if class_order_seed is None else class_order_seed)
        arrival = [label for labels in dealt for label in labels]
        _check_every_class_has_images(dataset, arrival)
        roles = [
            _role(images, arrival, transform, at_most=_checked(at_most, key), cache=cache, progress=progress)
            for images, transform, at_most, key in (
                (dataset.train, transforms[0], images_per_class, "images_per_class"),
                (dataset.test, transforms[1], test_images_per_class, "test_images_per_class"),
            )
        ]
        return cls(
            name=dataset.name,
            task_class_names=[[dataset.class_names[label] for label in labels] for labels in dealt],
            train=roles[0],
            test=roles[1],
            randomness=Randomness(seed),
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """All classes in order of arrival."""
        return tuple(name for names in self.task_class_names for name in names)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: equal for the same images of the same classes, wherever they lie."""
        return fingerprint_of(
            *(role.store.content for role in (self.train, self.test)),
            *("\n".join(self.class_names[label] for label in role.labels) for role in (self.train, self.test)),
        )

    def __len__(self) -> int:
        return len(self.task_class_names)

    def __iter__(self) -> Iterator[Task]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Task:
        """Return task `index`, from 0."""
        index = range(len(self))[index]
        return self._task(index, first_class=self._ends[index] - len(self.task_class_names[index]))

    def joined(self, last: int) -> Task:
        """Return one task that holds all classes of tasks 0 to `last`, under the index `last`: for joint training."""
        return self._task(range(len(self))[last], first_class=0)

    def _task(self, index: int, *, first_class: int) -> Task:
        from lorastream.data.task import Task

        end = self._ends[index]
        return Task(
            index=index,
            class_names=self.class_names[first_class:end],
            first_class=first_class,
            train=self.train.of_classes(first_class, end, task=index, randomness=self.randomness),
            test=self.test.of_classes(first_class, end, task=index, randomness=self.randomness),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RoleImages:
    """All images of a stream in one role.

    Attributes:
        store: their pixels.
        labels: int64 `[n]`, positions in the order of arrival.
        names: `[n]`, where they come from.
        transform: of the role.
    """

    store: PixelStore
    labels: NDArray[np.int64]
    names: Sequence[str]
    transform: Transform

    def of_classes(self, first: int, end: int, *, task: int, randomness: Randomness) -> TaskImages:
        """Return the images whose label is at least `first` and below `end`, in the source's order."""
        from lorastream.data.task import TaskImages

        rows = np.flatnonzero((self.labels >= first) & (self.labels < end))
        return TaskImages(
            store=self.store,
            rows=rows,
            labels=self.labels[rows],
            names=[self.names[row] for row in rows.tolist()],
            transform=self.transform,
            randomness=randomness,
            task=task,
        )


def _role(
    images: Images,
    arrival: Sequence[int],
    transform: Transform,
    *,
    at_most: int | None,
    cache: Path | None,
    progress: Progress | None,
) -> RoleImages:
    # Chosen in the source's order, not in that of arrival: so streams of other seeds share one cache file.
    used = _first_of_each_class(images.labels, set(arrival), at_most)
    chosen = images.subset(used)
    position = {label: i for i, label in enumerate(arrival)}
    return RoleImages(
        store=materialise(chosen, transform.fixed, folder=cache, progress=progress),
        labels=np.array([position[label] for label in chosen.labels.tolist()], dtype=np.int64),
        names=chosen.names,
        transform=transform,
    )


def _first_of_each_class(labels: NDArray[np.int64], used: set[int], at_most: int | None) -> list[int]:
    taken: Counter[int] = Counter()
    chosen: list[int] = []
    for i, label in enumerate(labels.tolist()):
        if label in used and (at_most is None or taken[label] < at_most):
            taken[label] += 1
            chosen.append(i)
    return chosen


def _checked(at_most: int | None, key: str) -> int | None:
    if at_most is not None and at_most < 1:
        raise DataError(f"stream.{key}", expected="at least 1", got=str(at_most), next_step="leave it out to use all")
    return at_most


def _check_every_class_has_images(dataset: Dataset, used: Sequence[int]) -> None:
    for role, images in (("training", dataset.train), ("test", dataset.test)):
        if role == "test" and not len(images):
            continue  # a source that was told to hold out nothing
        counts = count_by_class(images, len(dataset.class_names))
        empty = [dataset.class_names[label] for label in used if not counts[label]]
        if empty:
            raise DataError(
                f"dataset {dataset.name}",
                expected=f"at least one {role} image of every class that the stream uses",
                got=f"none of {', '.join(map(repr, empty[:5]))}{' and others' if len(empty) > 5 else ''}",  # noqa: PLR2004
                next_step="add images, or leave the class out by naming the others in stream.classes",
            )
