"""What a visit brings: the images of a folder or of a dataset, those to learn from and those held out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorastream.data.holdout import hold_out
from lorastream.data.images import Dataset, Images, count_by_class
from lorastream.data.sources import folder as folder_source
from lorastream.errors import DataError, Fault

Progress = Callable[[int, int], None]

BROKEN_SHARE = 0.1
"""Above this share of broken files a folder is refused: then something larger is wrong than a torn download."""
HELD_OUT = 0.2
_NAMED = 5
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The images of a visit.

    Attributes:
        source: where they come from.
        class_names: of the folder, sorted; labels are positions in it.
        train: to learn from.
        held_out: for the figures; may be empty.
        not_held_out: classes of which nothing is held out, as they have a single image.
        broken: files that cannot be read, each with the reason; they were left out.
        notes: on files that were passed over.
    """

    source: str
    class_names: tuple[str, ...]
    train: Images
    held_out: Images
    not_held_out: tuple[str, ...]
    broken: tuple[str, ...]
    notes: tuple[str, ...]


def read(
    given: str | Path | Dataset,
    *,
    source: str | None = None,
    held_out: float = HELD_OUT,
    broken_share: float = BROKEN_SHARE,
    seed: int = 0,
    progress: Progress | None = None,
) -> Material:
    """Read a folder of class folders, or a dataset; every image is decoded once to see that it is whole.

    Which images are held out follows from the seed and each file's name below the folder alone. So the same folder is
    split the same way in another process, on another day. A folder with `train/` and `test/` in it, and a dataset with
    test images, have said already what is held out.

    Args:
        given: a folder, or a dataset.
        source: what to call it; by default as it was given.
        held_out: part of each class, from 0 to below 1; a class of one image gives none.
        broken_share: largest share of broken files, 0 to 1.
        seed: of the choice.
        progress: told how many images were looked at, and how many there are.

    Raises:
        DataError: no such folder, no classes, a class without images that can be read, or too many broken files.
    """
    if not 0 <= broken_share <= 1:
        raise DataError("--broken-share", expected="0 to 1", got=str(broken_share), next_step="leave it out for 0.1")
    if not 0 <= held_out < 1:
        raise DataError("--held-out", expected="0 to below 1", got=str(held_out), next_step="leave it out for 0.2")
    dataset = given if isinstance(given, Dataset) else of_folder(Path(given).expanduser())
    train, torn_train = _whole(dataset.train, progress)
    test, torn_test = _whole(dataset.test, progress)
    broken = (*torn_train, *torn_test)
    _check_share(dataset, broken, broken_share)
    _check_classes(dataset, train)
    if not len(test):
        train, test = hold_out(train, fraction=held_out, seed=seed, class_names=dataset.class_names, spare_singles=True)
    held = count_by_class(test, len(dataset.class_names))
    return Material(
        source=source or (dataset.name if isinstance(given, Dataset) else str(given)),
        class_names=dataset.class_names,
        train=train,
        held_out=test,
        not_held_out=tuple(name for name, n in zip(dataset.class_names, held, strict=True) if not n),
        broken=broken,
        notes=dataset.notes,
    )


def of_folder(root: Path) -> Dataset:
    """Return the images of a folder of class folders, as yet unread, all to learn from; or of its `train/` and `test/`.

    Raises:
        DataError: no such folder, or it is not laid out so.
    """
    check_folder(root)
    if _holds_folders(root / "train") and _holds_folders(root / "test"):
        return folder_source.load(root=root)
    return folder_source.load(root=root, test_fraction=0.0)


def check_folder(root: Path) -> None:
    """See that there is a folder; what lies in it is not looked at.

    Raises:
        DataError: there is none.
    """
    if not root.is_dir():
        raise DataError(
            f"folder {root}",
            expected="a folder with one folder a class, and its images in that",
            got="a file" if root.exists() else "no such path",
            next_step="check the path",
        )


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())


def _whole(images: Images, progress: Progress | None) -> tuple[Images, tuple[str, ...]]:
    """Return the images that can be decoded, and what is wrong with the others."""
    faults = dict(enumerate(_faults(images, progress)))
    broken = {i: fault for i, fault in faults.items() if fault is not None}
    told = tuple(f"{images.names[i]}: {fault}" for i, fault in broken.items())
    return images.subset(np.array([i for i in faults if i not in broken], dtype=np.int64)), told


def _faults(images: Images, progress: Progress | None) -> Iterator[str | None]:
    def one(i: int) -> str | None:
        try:
            images.read(i)
        except DataError as error:
            return error.faults[0].got
        return None

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(images), _AT_ONCE):
            for i, fault in enumerate(pool.map(one, range(start, min(start + _AT_ONCE, len(images)))), start=start):
                yield fault
                if progress is not None:
                    progress(i + 1, len(images))


def _check_share(dataset: Dataset, broken: Sequence[str], at_most: float) -> None:
    total = len(dataset.train) + len(dataset.test)
    if len(broken) <= at_most * total:
        return
    raise DataError.of(
        [
            Fault(
                f"{dataset.name}, broken files",
                f"at most {at_most:.0%} of {total} images",
                f"{len(broken)} that cannot be read: {listed(broken, _NAMED)}",
                "repair or remove them, or allow more with --broken-share",
            )
        ]
    )


def _check_classes(dataset: Dataset, train: Images) -> None:
    counts = count_by_class(train, len(dataset.class_names))
    empty = [name for name, n in zip(dataset.class_names, counts, strict=True) if not n]
    if empty:
        raise DataError(
            f"{dataset.name}, class {empty[0]!r}",
            expected="at least one image that can be read",
            got="none",
            next_step="repair its images, add others, or take the class out",
        )


def listed(names: Sequence[str], at_most: int) -> str:
    """Return the first few names and how many more there are."""
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f", and {more} more" if more > 0 else "")
