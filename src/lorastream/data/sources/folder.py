"""Your own images: `train/<class>/*` and `test/<class>/*`, or `<class>/*` with a stated part held out for testing."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from lorastream.data.holdout import hold_out
from lorastream.data.images import IMAGE_SUFFIXES, Dataset, Images, check_class_names, decode, fingerprint_of
from lorastream.errors import DataError

_LAYOUT = "train/<class>/* and test/<class>/*, or <class>/* with test_fraction"


def load(
    *,
    root: Path,
    test_fraction: float | None = None,
    seed: int = 0,
    train_folder: str = "train",
    test_folder: str = "test",
) -> Dataset:
    """Return the images of a folder; class names are the names of the class folders, sorted.

    Class folders are searched to any depth. Hidden files and folders are passed over; files without an image's suffix
    are too, and counted in the dataset's notes.

    Args:
        root: the folder.
        test_fraction: for one folder of classes: the part of each class that is held out, from 0 to below 1.
        seed: of the choice of images held out.
        train_folder: the name under `root` of the folder of training images.
        test_folder: the name under `root` of the folder of test images.

    Raises:
        DataError: the folder is missing or not laid out so, a class has no images, training and test classes differ, or
            class names differ by case or blanks alone.
    """
    root = root.expanduser()
    if not root.is_dir():
        raise DataError(
            f"folder {root}",
            expected=f"a folder with {_LAYOUT}",
            got="a file" if root.exists() else "no such path",
            next_step="correct data.root",
        )
    train_root, test_root = root / train_folder, root / test_folder
    if test_fraction is None:
        _check_both(root, train_root, test_root)
        return _two_folders(root, train_root, test_root)
    if train_root.is_dir() and test_root.is_dir():
        raise DataError(
            f"folder {root}",
            expected="test_fraction only where training and test images lie in one folder",
            got=f"test_fraction={test_fraction}, and both {train_folder}/ and {test_folder}/",
            next_step="leave out test_fraction (data.test_fraction=none) to use the two folders as they are",
        )
    classes = class_folders(root)
    images, notes = _scan(root, classes)
    train, test = hold_out(images, fraction=test_fraction, seed=seed, class_names=classes)
    return Dataset(name=root.name, class_names=classes, train=train, test=test, notes=notes)


def _two_folders(root: Path, train_root: Path, test_root: Path) -> Dataset:
    classes = class_folders(train_root)
    test_classes = class_folders(test_root)
    if classes != test_classes:
        only_train, only_test = sorted({*classes} - {*test_classes}), sorted({*test_classes} - {*classes})
        raise DataError(
            f"folder {root}",
            expected=f"the same classes in {train_root.name}/ and {test_root.name}/",
            got="; ".join(
                f"only in {folder.name}/: {', '.join(map(repr, names[:5]))}"
                for folder, names in ((train_root, only_train), (test_root, only_test))
                if names
            ),
            next_step="rename, add or take out the class folders that have no partner",
        )
    train, train_notes = _scan(train_root, classes)
    test, test_notes = _scan(test_root, classes)
    return Dataset(name=root.name, class_names=classes, train=train, test=test, notes=train_notes + test_notes)


def _check_both(root: Path, train_root: Path, test_root: Path) -> None:
    missing = [folder.name for folder in (train_root, test_root) if not folder.is_dir()]
    if missing:
        raise DataError(
            f"folder {root}",
            expected=_LAYOUT,
            got=f"no folder {' and no folder '.join(missing)}, and no test_fraction",
            next_step="set data.test_fraction=0.2 to hold out a fifth of each class, or name data.test_folder",
        )


def class_folders(root: Path) -> tuple[str, ...]:
    """Return the names of the class folders, sorted; hidden ones are passed over.

    Raises:
        DataError: there are none, or their names are too alike or cannot be read.
    """
    try:
        entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise _unreadable(error) from error
    names = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
    if not names:
        raise DataError(
            f"folder {root}",
            expected="one folder a class, with its images",
            got="no folders",
            next_step="put the images of each class into a folder with the name of the class",
        )
    garbled = [name for name in names if _printable(name) != name]
    if garbled:
        raise DataError(
            f"folder {root}",
            expected="class folders whose names are UTF-8 text, in any script",
            got=repr(_printable(garbled[0])),
            next_step="rename the folder",
        )
    check_class_names(names, where=f"folder {root}")
    return names


def _scan(root: Path, class_names: tuple[str, ...]) -> tuple[Images, tuple[str, ...]]:
    """Return the images of all classes and a note on the files passed over."""
    found: list[Path] = []
    labels: list[int] = []
    passed_over: Counter[str] = Counter()
    for label, name in enumerate(class_names):
        files = files_below(root / name)
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        passed_over.update(file.suffix.lower() or "without suffix" for file in files if file not in {*images})
        if not images:
            raise DataError(
                f"class folder {root / name}",
                expected=f"at least one image ({', '.join(sorted(IMAGE_SUFFIXES))})",
                got=f"no image among its files ({len(files)})" if files else "no files",
                next_step="add images to the class, or take the folder out",
            )
        found += images
        labels += [label] * len(images)
    note = ", ".join(f"{count} {suffix}" for suffix, count in sorted(passed_over.items()))
    return (
        Images(
            labels=np.array(labels, dtype=np.int64),
            read=lambda i: decode(found[i], name=str(found[i])),
            names=[_printable(file.relative_to(root).as_posix()) for file in found],
            fingerprint=fingerprint_of(os.fsencode(root.resolve()), *(_state(file) for file in found)),
        ),
        (f"{root}: passed over {_files_that_are_no_images(passed_over.total())} ({note})",) if note else (),
    )


def _files_that_are_no_images(number: int) -> str:
    return "1 file that is no image" if number == 1 else f"{number} files that are not images"


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder that are not hidden, sorted; links are followed, and none in a circle."""
    files: list[Path] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(parent)
        folders[:] = [] if real in visited else [name for name in folders if not name.startswith(".")]
        if real not in visited:
            files += [Path(parent, name) for name in names if not name.startswith(".")]
        visited.add(real)
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())


def _state(file: Path) -> bytes:
    try:
        status = file.stat()
    except OSError:  # a link to nowhere: told of when it is read
        return os.fsencode(file)
    return os.fsencode(f"{file} {status.st_size} {status.st_mtime_ns}")


def _printable(name: str) -> str:
    """Return a name with the bytes that are no UTF-8, which a file system may hold, spelt out."""
    return name.encode(errors="backslashreplace").decode()


def _refuse(error: OSError) -> None:
    raise _unreadable(error) from error


def _unreadable(error: OSError) -> DataError:
    return DataError(
        _printable(str(error.filename)),
        expected="a folder that may be read",
        got=error.strerror or type(error).__name__,
        next_step="see that you may read it, or take it out of the data",
    )
