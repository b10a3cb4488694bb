"""Parquet files in the Hugging Face layout are a dataset, with the class names of their schema."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorastream.data import sources
from lorastream.errors import DataError, MissingExtraError


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (3, 2), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, labels: list[int] | list[str], *, names: list[str] | None = None, start: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png(start + i), "path": None} for i in range(len(labels))]
    table = pa.table({"id": list(range(len(labels))), "img": cells, "label": labels})
    if names is not None:
        features = {"img": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def test_class_names_come_from_the_schema(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [1, 0, 1], names=["zebra", "ape"])
    write(tmp_path / "test.parquet", [0], names=["zebra", "ape"], start=50)
    data = sources.load("parquet", root=str(tmp_path))
    assert data.class_names == ("zebra", "ape")
    assert data.train.labels.tolist() == [1, 0, 1]
    assert np.asarray(data.train.read(2))[0, 0].tolist() == [2, 0, 0]
    assert np.asarray(data.test.read(0))[0, 0].tolist() == [50, 0, 0]
    assert data.train.names[2] == f"{tmp_path}/train.parquet[2]"


def test_files_in_parts_under_data_are_one_split(tmp_path: Path) -> None:
    write(tmp_path / "data/train-00001-of-00002.parquet", ["cat"], start=10)
    write(tmp_path / "data/train-00000-of-00002.parquet", ["dog", "cat"])
    write(tmp_path / "data/test-00000-of-00001.parquet", ["dog"])
    data = sources.load("parquet", root=tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [1, 0, 0]
    assert np.asarray(data.train.read(2))[0, 0].tolist() == [10, 0, 0]


def test_without_test_files_a_part_is_held_out(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", ["a", "b"] * 5)
    with pytest.raises(DataError, match=r"test\*\.parquet(.|\n)*data\.test_fraction"):
        sources.load("parquet", root=tmp_path)
    data = sources.load("parquet", root=tmp_path, test_fraction=0.2)
    assert (len(data.train), len(data.test)) == (8, 2)


def test_a_test_label_that_was_never_trained_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", ["cat"])
    write(tmp_path / "test.parquet", ["cat", "fish"])
    with pytest.raises(DataError, match=r"test\.parquet\[1\], column label(.|\n)*'fish'"):
        sources.load("parquet", root=tmp_path)


def test_a_broken_image_is_named_by_its_row(tmp_path: Path) -> None:
    table = pa.table({"image": [png(1), png(2)[:30]], "label": [0, 0]})
    pq.write_table(table, tmp_path / "train.parquet")
    data = sources.load("parquet", root=tmp_path, test_fraction=0)
    assert np.asarray(data.train.read(0))[0, 0, 0] == 1
    with pytest.raises(DataError, match=r"train\.parquet\[1\]"):
        data.train.read(1)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [0])
    content = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"train\.parquet"):
        sources.load("parquet", root=tmp_path)


def test_test_files_of_another_schema_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [0])
    pq.write_table(pa.table({"image": [png(0)], "label": [0]}), tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"img and label(.|\n)*image, label"):
        sources.load("parquet", root=tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        sources.load("parquet", root=tmp_path / "nowhere")


def test_a_file_that_is_written_anew_changes_the_fingerprint(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [0, 0])
    before = [sources.load("parquet", root=tmp_path, test_fraction=0).train.fingerprint for _ in range(2)]
    write(tmp_path / "train.parquet", [0, 0], start=5)
    after = sources.load("parquet", root=tmp_path, test_fraction=0).train.fingerprint
    assert before[0] == before[1] != after


def test_without_the_extra_the_line_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train.parquet", [0])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"lorastream\[hf\]"):
        sources.load("parquet", root=tmp_path)
