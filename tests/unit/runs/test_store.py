"""What is written is read back; what is torn, foreign or from the future is refused by name and with a next step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorastream.errors import CheckpointError
from lorastream.runs import RunRecord, TaskResult, find, new_folder, read, write
from lorastream.runs.store import RECORD

RECIPE: dict[str, Any] = {"name": "digits", "method": {"name": "sd_lora"}}


def record(**changes: Any) -> RunRecord:
    task = TaskResult(classes=("ü",), n_train=8, n_test=4, accuracy=(0.5,))
    return RunRecord(**{"recipe": RECIPE, "id": "abc", "seed": 3, **changes}).with_task(task)


def test_folder_is_recipe_method_seed_and_id(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, record())
    assert folder == tmp_path / "digits" / "sd_lora" / "3-abc"
    write(record(), folder)
    with pytest.raises(CheckpointError, match="of an earlier run"):
        new_folder(tmp_path, record())


@pytest.mark.parametrize("name", ["../../up", "a/b", "..", "con\x00trol", "räume 1"])
def test_no_name_leaves_the_root(tmp_path: Path, name: str) -> None:
    folder = new_folder(tmp_path, record(recipe={"name": name, "method": {"name": name}}, id=name))
    assert tmp_path in folder.resolve().parents
    assert len(folder.relative_to(tmp_path).parts) == 3


def test_written_is_read_from_the_folder_and_from_the_file(tmp_path: Path) -> None:
    file = write(record(), tmp_path)
    assert read(tmp_path) == read(file) == record()
    assert json.loads(file.read_text("utf-8")) == record().to_json()


def test_a_line_holds_a_key_or_a_row(tmp_path: Path) -> None:
    second = TaskResult(classes=("b",), n_train=8, n_test=4, accuracy=(0.25, 1.0))
    lines = write(record().with_task(second), tmp_path).read_text("utf-8").splitlines()
    assert lines[:3] == ["{", ' "schema": 1,', ' "id": "abc",']
    start = lines.index(' "accuracy_matrix": [')
    assert lines[start + 1 : start + 4] == ["  [0.5],", "  [0.25, 1.0]", " ],"]


def test_find_is_sorted_and_passes_over_other_files(tmp_path: Path) -> None:
    for name in ("b", "a/deep"):
        (tmp_path / name).mkdir(parents=True)
        write(record(), tmp_path / name)
    (tmp_path / "a" / f".{RECORD}.tmp").touch()
    assert find(tmp_path) == [tmp_path / "a" / "deep" / RECORD, tmp_path / "b" / RECORD]
    assert find(tmp_path / "b" / RECORD) == [tmp_path / "b" / RECORD]


def test_find_nowhere(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        find(tmp_path / "nowhere")


def damaged(**changes: Any) -> str:
    return json.dumps({**record().to_json(), **changes})


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (damaged()[:-200], "torn"),
        ("", "torn"),
        (b"\xff\xfe\x00", "torn"),
        ("[" * 100_000, "torn"),
        ("[]", "list"),
        ("{}", "schema None"),
        (damaged(schema="1"), "schema '1'"),
        (damaged(schema=0), "schema 0"),
        (damaged(schema=2), "newer lorastream"),
        (damaged(surprise=1), "surprise"),
        (damaged(average_accuracy=0.9), "average_accuracy"),
        (damaged(accuracy_matrix=[[0.5, 0.5]]), "row 0"),
        (damaged(status="odd", seed=-1, epochs=3), "status"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str | bytes, got: str) -> None:
    file = tmp_path / RECORD
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path)
    (fault,) = caught.value.faults
    assert fault.where == str(file)
    assert got in fault.got
    assert fault.next_step


def test_no_record_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read(tmp_path)
