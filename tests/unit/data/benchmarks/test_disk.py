"""What is half-made never has its final name, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorastream.data.benchmarks import disk
from lorastream.errors import DataError, RunError


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c.json"
    disk.write(path, "old")
    disk.write(path, "né")
    assert path.read_text("utf-8") == "né"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.json"
    disk.write(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space"):
        disk.write(path, "new")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_folders_made_for_nothing_go_again(tmp_path: Path) -> None:
    with disk.made(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_folders_with_something_in_them_stay(tmp_path: Path) -> None:
    with disk.made(tmp_path / "a/b"):
        (tmp_path / "a/kept").write_text("")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["kept"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DataError, match="a is a file"), disk.made(tmp_path / "a/b"):
        pass
