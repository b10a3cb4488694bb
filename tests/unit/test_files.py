"""A write is whole or did not happen: whichever step fails, the old content is still there and nothing beside it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lorastream import files
from lorastream.errors import CheckpointError, RunError
from lorastream.files import fault_of_place, lock, make_folder, write_atomically


@pytest.mark.parametrize("data", ["text ü", b"\x00bytes", ""])
def test_what_is_written_is_read(tmp_path: Path, data: bytes | str) -> None:
    write_atomically(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == (data.encode() if isinstance(data, str) else data)


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for content in ("old", "new"):
        write_atomically(tmp_path / "file", content)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    write_atomically(tmp_path / "file", "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((files.os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(RunError, match="No space left on device"):
        write_atomically(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_missing_folder_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        write_atomically(tmp_path / "nowhere" / "file", "x")


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "file", "x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "file")}
    assert len(modes) == 1


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"(?s)can be made and written to.*look elsewhere"):
        make_folder(tmp_path / "file" / "inner", next_step="look elsewhere")


@pytest.mark.skipif(os.name == "nt", reason="files are locked only where the system can")
def test_a_lock_is_held_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    one, other = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert lock(one)
    assert not lock(other)
    os.close(one)
    assert lock(other)

    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unknown)
    assert lock(other), "a file system without locks"
    os.close(other)


def test_a_place_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    fault = fault_of_place(tmp_path / "file/run/model", "--into")
    assert fault is not None
    assert fault.where == str(tmp_path / "file/run/model")
    assert fault.got == f"{tmp_path / 'file'} is a file"
    assert "--into" in fault.next_step
    assert fault_of_place(tmp_path / "new/run", "--into") is None
    assert not (tmp_path / "new").exists()
