"""CIFAR-100's binary version: records of 3,074 bytes: coarse label, fine label, 3 x 32 x 32 pixels, colour by colour.

https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version". The Python version is a pickle and is never opened.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorastream.errors import DataError

SIDE = 32
RECORD_BYTES = 2 + 3 * SIDE * SIDE
CLASS_NAMES = "fine_label_names.txt"
_NAME = re.compile(r"(?P<file>[^\[\]]+)\[(?P<row>\d+)\]")

Records = NDArray[np.uint8]


def name_of(file: str, row: int) -> str:
    """Return how a manifest calls a record: `train.bin[17]`."""
    return f"{file}[{row}]"


def file_and_row(name: str) -> tuple[str, int]:
    """Return the file and the row of a record's name.

    Raises:
        DataError: it is not the name of a record.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise DataError(
            f"record {name!r}",
            expected="a file and a number, such as train.bin[17]",
            got=repr(name),
            next_step="remove the manifest and prepare the split again: lorastream data prepare cifar100",
        )
    return found["file"], int(found["row"])


def open_records(file: Path) -> Records:
    """Return a file's records `[n, 3074]`, read from disk when they are used.

    Raises:
        DataError: the file is missing, or its size is not a whole number of records.
    """
    n_bytes = file.stat().st_size if file.is_file() else 0
    if n_bytes == 0 or n_bytes % RECORD_BYTES:
        raise DataError(
            str(file),
            expected=f"records of {RECORD_BYTES:,} bytes",
            got=f"{n_bytes:,} bytes" if file.is_file() else "no such file",
            next_step="take the folder away and prepare the benchmark again, or correct --root",
        )
    return np.memmap(file, dtype=np.uint8, mode="r").reshape(-1, RECORD_BYTES)


def fine_labels(records: Records) -> NDArray[np.int64]:
    """Return the classes of records, `[n]`."""
    return records[:, 1].astype(np.int64)


def pixels(record: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a record's image, `[32, 32, 3]`."""
    return np.ascontiguousarray(record[2:].reshape(3, SIDE, SIDE).transpose(1, 2, 0))


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the fine classes, in the order of labels.

    Raises:
        DataError: their file is missing.
    """
    file = folder / CLASS_NAMES
    if not file.is_file():
        raise DataError(
            str(file),
            expected="the names of the classes, a line each",
            got="no such file",
            next_step="take the folder away and prepare the benchmark again",
        )
    return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
