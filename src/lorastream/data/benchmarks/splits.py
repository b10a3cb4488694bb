"""The splits of a benchmark's images: drawn from a seed, given as two folders, or shipped by its makers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from lorastream.data.benchmarks import records
from lorastream.data.benchmarks.manifest import SplitClass
from lorastream.data.images import IMAGE_SUFFIXES
from lorastream.errors import DataError
from lorastream.randomness import Randomness

TEST_FRACTION = 0.2


def drawn(folder: Path, *, seed: int, test_fraction: float) -> tuple[SplitClass, ...]:
    """Draw a split from a folder of class folders: stratified by class, and by the images' names alone.

    Of n images, the nearest whole number to `n * test_fraction` is for testing: 6,000 of ImageNet-R's 30,000. Each
    class gives its share, rounded down, and those with the largest remainders give one more; every class keeps one
    image and gives one.

    Args:
        folder: with one folder a class.
        seed: another seed draws other images.
        test_fraction: above 0 and below 1.

    Raises:
        DataError: the fraction is out of range, or a class has a single image.
    """
    if not 0 < test_fraction < 1:
        raise DataError(
            "--test-fraction", expected="above 0 and below 1", got=str(test_fraction), next_step="--test-fraction 0.2"
        )
    images = class_images(folder)
    lone = [name for name, paths in images.items() if len(paths) == 1]
    if lone:
        raise DataError(
            str(folder / lone[0]),
            expected="at least 2 images, one to learn from and one to test on",
            got="1 image",
            next_step="unpack the archive again",
        )
    counts = _test_counts([len(paths) for paths in images.values()], test_fraction)
    randomness = Randomness(seed)
    classes: list[SplitClass] = []
    for (name, paths), count in zip(images.items(), counts, strict=True):
        by_lot = sorted(paths, key=lambda path: randomness.number("benchmark split", path))
        classes.append(SplitClass(name=name, train=tuple(sorted(by_lot[count:])), test=tuple(sorted(by_lot[:count]))))
    return tuple(classes)


def _test_counts(sizes: Sequence[int], fraction: float) -> list[int]:
    """Share out the test images among classes by largest remainders (Hamilton's method)."""
    exact = Fraction(str(fraction))
    shares = [size * exact for size in sizes]
    counts = [min(max(int(share), 1), size - 1) for share, size in zip(shares, sizes, strict=True)]
    left = round(sum(sizes) * exact) - sum(counts)
    by_remainder = sorted(range(len(sizes)), key=lambda i: (counts[i] - shares[i], i))
    for i in by_remainder[: max(left, 0)]:
        counts[i] = min(counts[i] + 1, sizes[i] - 1)
    return counts


def two_folders(train: Path, test: Path) -> tuple[Path, tuple[SplitClass, ...]]:
    """Return the common folder and the classes of a split that lies in two folders of class folders.

    Raises:
        DataError: the two do not have the same classes.
    """
    base = Path(os.path.commonpath([train, test]))
    learnt, tested = class_images(train), class_images(test)
    if [*learnt] != [*tested]:
        only = [
            f"only in {folder.name}/: {', '.join(sorted(here - there)[:3])}"
            for folder, here, there in ((train, {*learnt}, {*tested}), (test, {*tested}, {*learnt}))
            if here - there
        ]
        raise DataError(
            f"{train} and {test}",
            expected="the same classes in both",
            got="; ".join(only),
            next_step="name the two folders of one split",
        )
    before = [folder.relative_to(base).as_posix() for folder in (train, test)]
    return base, tuple(
        SplitClass(
            name=name,
            train=tuple(f"{before[0]}/{path}" for path in learnt[name]),
            test=tuple(f"{before[1]}/{path}" for path in tested[name]),
        )
        for name in learnt
    )


def class_images(folder: Path) -> dict[str, list[str]]:
    """Return the images in each class folder, as paths below `folder`, classes and images sorted; hidden ones left out.

    Raises:
        DataError: there are no class folders.
    """
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(
            str(folder),
            expected="one folder a class",
            got="no folders",
            next_step="take it away and prepare the benchmark again, or correct --root",
        )
    return {
        name: sorted(
            f"{name}/{entry.name}"
            for entry in os.scandir(folder / name)
            if not entry.name.startswith(".") and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and entry.is_file()
        )
        for name in names
    }


def cub(folder: Path) -> tuple[SplitClass, ...]:
    """Return the official split of CUB-200-2011: `images.txt` and `train_test_split.txt` beside the images.

    Args:
        folder: of the images; the two files lie above it.

    Raises:
        DataError: a file is missing or is not as published.
    """
    paths, roles = (_numbered(folder.parent / name) for name in ("images.txt", "train_test_split.txt"))
    if paths.keys() != roles.keys() or not {*roles.values()} <= {"0", "1"}:
        raise DataError(
            str(folder.parent / "train_test_split.txt"),
            expected="a 0 or a 1 for each of the images of images.txt",
            got=f"{len(roles):,} lines for {len(paths):,} images",
            next_step="take the folder away and prepare the benchmark again",
        )
    images: dict[str, dict[str, list[str]]] = {}
    for number, path in paths.items():
        images.setdefault(path.partition("/")[0], {"1": [], "0": []})[roles[number]].append(path)
    return tuple(
        SplitClass(name=name, train=tuple(sorted(images[name]["1"])), test=tuple(sorted(images[name]["0"])))
        for name in sorted(images)
    )


def _numbered(file: Path) -> dict[str, str]:
    """Return the lines `number text` of a file."""
    if not file.is_file():
        raise DataError(
            str(file),
            expected="a file of the official archive",
            got="no such file",
            next_step="take the folder away and prepare the benchmark again",
        )
    lines = (line.split(" ", 1) for line in file.read_text(encoding="utf-8").splitlines() if " " in line)
    return {number: text.strip() for number, text in lines}


def cifar(folder: Path) -> tuple[SplitClass, ...]:
    """Return the official split of CIFAR-100: the records of `train.bin` and of `test.bin`.

    Raises:
        DataError: a file is missing or damaged, or a label has no name.
    """
    names = records.class_names(folder)
    rows: dict[str, list[list[str]]] = {}
    for file in ("train.bin", "test.bin"):
        labels = records.fine_labels(records.open_records(folder / file))
        if labels.max() >= len(names):
            raise DataError(
                str(folder / file),
                expected=f"labels below {len(names)}, as there are {len(names)} class names",
                got=str(labels.max()),
                next_step="take the folder away and prepare the benchmark again",
            )
        rows[file] = [
            [records.name_of(file, int(row)) for row in np.flatnonzero(labels == label)] for label in range(len(names))
        ]
    return tuple(
        SplitClass(name=name, train=tuple(train), test=tuple(test))
        for name, train, test in zip(names, rows["train.bin"], rows["test.bin"], strict=True)
    )
