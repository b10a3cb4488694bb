"""A published file is the one given, the one in the root, or fetched; one that is wrong does not stay."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lorastream.data.benchmarks.build import check_files, obtained
from lorastream.data.benchmarks.catalogue import RemoteFile
from lorastream.errors import DataError

MD5 = hashlib.md5(b"published", usedforsecurity=False).hexdigest()


@pytest.fixture
def remote(server: Any) -> RemoteFile:
    server.content = b"published"
    return RemoteFile(path="new/x.txt", address=server.address, md5=MD5)


def test_fetched_once(remote: RemoteFile, server: Any, tmp_path: Path) -> None:
    for _ in range(2):
        file, seen = obtained(remote, tmp_path)
        assert (file, seen.sha256) == (tmp_path / "new/x.txt", hashlib.sha256(b"published").hexdigest())
    assert len(server.asked) == 1


def test_one_that_is_given_is_taken(remote: RemoteFile, server: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"published")
    assert obtained(remote, tmp_path / "root", given=tmp_path / "mine")[0] == tmp_path / "mine"
    assert (server.asked, [p.name for p in tmp_path.iterdir()]) == ([], ["mine"])


def test_a_wrong_one_that_was_fetched_does_not_stay(remote: RemoteFile, server: Any, tmp_path: Path) -> None:
    server.content = b"another"
    with pytest.raises(DataError, match="with a browser"):
        obtained(remote, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_one_of_the_user_stays(remote: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/x.txt").write_bytes(b"another")
    with pytest.raises(DataError, match="fetch it again"):
        obtained(remote, tmp_path)
    assert (tmp_path / "new/x.txt").read_bytes() == b"another"


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    check_files([])
    for path, got in ((tmp_path, "a folder"), (tmp_path / "x", "no such file")):
        with pytest.raises(DataError, match=got):
            check_files([path])
