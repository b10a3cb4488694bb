"""Pictures beside a record: small, the same bytes each time, and nothing else can be read through their names."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest
from pydantic import ValidationError

from lorastream.runs import RunRecord, TaskResult, read, thumbnails, write
from lorastream.runs.thumbnails import SIDE, Thumbnail

ONE = Thumbnail(true=0, taken=1, image="photos/a.jpg", file="0-3.jpg")


def _learnt(*kept: Thumbnail) -> RunRecord:
    result = TaskResult(classes=("a", "b"), n_train=1, n_test=1, accuracy=(0.5,), thumbnails=kept)
    return RunRecord(recipe={}, id="one").with_task(result)


@pytest.mark.parametrize("size", [(8, 8), (400, 100)])
def test_a_picture_is_small_and_the_same_each_time(size: tuple[int, int], tmp_path: Path) -> None:
    found: set[bytes | None] = set()
    for _ in range(2):
        thumbnails.write(tmp_path, ONE, PIL.Image.radial_gradient("L").convert("RGB").resize(size))
        found.add(thumbnails.read(tmp_path, ONE))
    assert len(found) == 1
    with PIL.Image.open(tmp_path / "thumbnails" / "0-3.jpg") as picture:
        assert picture.size == ((8, 8) if size == (8, 8) else (SIDE, SIDE // 4))


def test_what_is_gone_or_not_ours_is_none(tmp_path: Path) -> None:
    assert thumbnails.read(tmp_path, ONE) is None
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / ONE.file).write_bytes(bytes(100_001))
    assert thumbnails.read(tmp_path, ONE) is None


def test_a_picture_goes_once_the_record_names_its_file_no_more(tmp_path: Path) -> None:
    mistaken_otherwise, other = ONE.model_copy(update={"taken": 2}), ONE.model_copy(update={"file": "0-4.jpg"})
    for one in (ONE, other):
        thumbnails.write(tmp_path, one, PIL.Image.new("RGB", (8, 8)))
    for _ in range(2):
        thumbnails.remove_old(tmp_path, [ONE, other], [mistaken_otherwise])
        assert [path.name for path in (tmp_path / "thumbnails").iterdir()] == [ONE.file]


@pytest.mark.parametrize("file", ["../record.jpg", "/etc/a.jpg", "a/b.jpg", "a.png", ".jpg", "a.jpg\n", "..jpg"])
def test_a_name_leads_nowhere_else(file: str) -> None:
    with pytest.raises(ValidationError, match="file"):
        Thumbnail(true=0, taken=1, image="x", file=file)


def test_a_record_names_its_pictures_and_without_any_is_as_it_was(tmp_path: Path) -> None:
    write(_learnt(ONE), tmp_path)
    assert read(tmp_path).thumbnails == (ONE,)
    write(_learnt(), tmp_path)
    assert "thumbnails" not in json.loads((tmp_path / "record.json").read_text())
    assert read(tmp_path) == _learnt()


def test_a_task_has_the_pictures_of_its_own_evaluation_alone() -> None:
    result = TaskResult(classes=("c",), n_train=1, n_test=1, accuracy=(0.5, 1.0))
    assert _learnt(ONE).with_task(result).thumbnails == ()
