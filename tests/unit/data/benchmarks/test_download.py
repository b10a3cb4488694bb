"""A file is fetched whole; a broken connection costs nothing; parts of two files are never put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorastream.data.benchmarks.download import download
from lorastream.errors import RunError

CONTENT = bytes(range(256)) * 9


class Pauses(list[float]):
    """Waits for nothing, and remembers how long it was to wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def target(tmp_path: Path, server: Any) -> Path:
    server.content = CONTENT
    return tmp_path / "new" / "x.tar"


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_comes_whole_with_progress(target: Path, server: Any) -> None:
    told: list[tuple[str, int, int | None]] = []
    download(server.address, target, progress=lambda *each: told.append(each))
    assert (target.read_bytes(), names(target)) == (CONTENT, ["x.tar"])
    assert told[0] == ("fetching x.tar", 0, len(CONTENT))
    assert told[-1] == ("fetching x.tar", len(CONTENT), len(CONTENT))


def test_it_goes_on_where_it_broke_off(target: Path, server: Any) -> None:
    server.breaks = [700, 1, 1000]
    pauses = Pauses()
    download(server.address, target, pause=pauses)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=700-", "bytes=701-", "bytes=1701-"]
    assert pauses == [1.0, 1.0, 1.0], "while bytes come, patience does not run out"
    assert names(target) == ["x.tar"]


def test_a_later_try_goes_on_from_an_earlier_one(target: Path, server: Any) -> None:
    server.breaks = [500, 0, 0, 0, 0]
    pauses = Pauses()
    with pytest.raises(RunError, match=r"500 bytes in x\.tar\.part") as raised:
        download(server.address, target, pause=pauses)
    assert "the connection ended after 500 of 2,304 bytes" in raised.value.faults[0].got
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert names(target) == ["x.tar.part", "x.tar.part.origin"]
    assert (target.parent / "x.tar.part").read_bytes() == CONTENT[:500]
    download(server.address, target)
    assert server.asked[-1] == "bytes=500-"
    assert (target.read_bytes(), names(target)) == (CONTENT, ["x.tar"])


def test_a_server_that_cannot_go_on_sends_it_all(target: Path, server: Any) -> None:
    server.breaks, server.ranges = [500], False
    download(server.address, target, pause=Pauses())
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_begins_again(target: Path, server: Any) -> None:
    server.breaks = [500, *[0] * 4]
    with pytest.raises(RunError):
        download(server.address, target, pause=Pauses())
    server.content, server.etag = b"another" * 300, '"two"'
    download(server.address, target)
    assert target.read_bytes() == b"another" * 300


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_mark_of_the_server_nothing_is_gone_on_from(
    etag: str | None, target: Path, server: Any
) -> None:
    server.breaks, server.etag = [500], etag
    download(server.address, target, pause=Pauses())
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_a_part_of_another_address_is_not_gone_on_from(target: Path, server: Any) -> None:
    server.breaks = [500, *[0] * 4]
    with pytest.raises(RunError):
        download(server.address, target, pause=Pauses())
    download(server.address + "2", target)
    assert (server.asked[-1], target.read_bytes()) == (None, CONTENT)


def test_a_part_that_is_whole_needs_its_name_only(target: Path, server: Any) -> None:
    server.breaks = [500, *[0] * 4]
    with pytest.raises(RunError):
        download(server.address, target, pause=Pauses())
    (target.parent / "x.tar.part").write_bytes(CONTENT)
    asked = len(server.asked)
    download(server.address, target)
    assert (len(server.asked), target.read_bytes()) == (asked, CONTENT)


def test_a_part_longer_than_the_file_begins_again(target: Path, server: Any) -> None:
    server.breaks = [500, *[0] * 4]
    with pytest.raises(RunError):
        download(server.address, target, pause=Pauses())
    (target.parent / "x.tar.part").write_bytes(CONTENT + b"more")
    download(server.address, target, pause=Pauses())
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 5)])
def test_what_the_server_refuses_is_told(status: int, tries: int, target: Path, server: Any) -> None:
    server.status = status
    with pytest.raises(RunError, match=f"HTTP {status}") as raised:
        download(server.address, target, pause=Pauses())
    assert len(server.asked) == tries
    assert "--archive" in raised.value.faults[0].next_step
    assert names(target) == []


def test_a_file_of_this_machine_is_no_address(target: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    with pytest.raises(RunError, match="no http address"):
        download((tmp_path / "secret").as_uri(), target, pause=Pauses())


def test_no_room_is_told_before_a_byte_comes(target: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=100))
    with pytest.raises(RunError, match=r"room for 2,304 bytes more(.|\n)*100 bytes free"):
        download(server.address, target)
    assert names(target) == []
