"""A record of CIFAR's binary version is a coarse label, a fine label, and a picture colour by colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lorastream.data.benchmarks import records
from lorastream.errors import DataError


def test_a_record_is_read_as_it_is_laid_down(tmp_path: Path) -> None:
    planes = np.arange(3 * 32 * 32, dtype=np.uint32).astype(np.uint8)
    (tmp_path / "x.bin").write_bytes(bytes([4, 17]) + planes.tobytes() + bytes([5, 3]) + bytes(3072))
    opened = records.open_records(tmp_path / "x.bin")
    assert records.fine_labels(opened).tolist() == [17, 3]
    image = records.pixels(opened[0])
    assert image.shape == (32, 32, 3)
    # Row 2, column 5 of green: one plane of 1,024 and two rows of 32 and 5, modulo 256.
    assert image[2, 5].tolist() == [69, (1024 + 69) % 256, (2048 + 69) % 256]


def test_names_of_records() -> None:
    assert records.name_of("train.bin", 17) == "train.bin[17]"
    assert records.file_and_row("train.bin[17]") == ("train.bin", 17)


@pytest.mark.parametrize("name", ["train.bin", "train.bin[]", "train.bin[-1]", "[3]", "a[1][2]"])
def test_what_is_no_record_is_told(name: str) -> None:
    with pytest.raises(DataError, match=r"train\.bin\[17\]"):
        records.file_and_row(name)


@pytest.mark.parametrize("n_bytes", [None, 0, 3073, 3075])
def test_a_file_of_another_size_is_told(n_bytes: int | None, tmp_path: Path) -> None:
    if n_bytes is not None:
        (tmp_path / "x.bin").write_bytes(bytes(n_bytes))
    with pytest.raises(DataError) as raised:
        records.open_records(tmp_path / "x.bin")
    assert raised.value.faults[0].got == ("no such file" if n_bytes is None else f"{n_bytes:,} bytes")


def test_class_names_are_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "fine_label_names.txt").write_text("apple\naquarium_fish\n\n")
    assert records.class_names(tmp_path) == ("apple", "aquarium_fish")
    with pytest.raises(DataError, match="no such file"):
        records.class_names(tmp_path / "elsewhere")
