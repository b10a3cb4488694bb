"""An archive is unpacked whole or not at all, and nothing of it lands, or points, outside of its folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.data.benchmarks.archive import unpack
from lorastream.errors import DataError

Member = tuple[str, bytes, str]  # name, tar type, target of a link
FILES = {"top/a/1.jpg": b"one", "top/a/2.jpg": b"two" * 4000, "top/b/1.jpg": b"three", "beside.txt": b"no"}


def tar_of(path: Path, *members: Member) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            content = b"mine" if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def a_file(name: str) -> Member:
    return name, tarfile.REGTYPE, ""


def a_link(name: str, target: str) -> Member:
    return name, tarfile.SYMTYPE, target


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.xz", "x.zip"])
def test_the_folder_alone_is_kept(name: str, tmp_path: Path, kit: Any) -> None:
    into = tmp_path / "into"
    into.mkdir()
    if name.endswith("zip"):
        archive = kit.write_zip(tmp_path / name, FILES)
    else:
        archive = kit.write_tar(tmp_path / name, FILES, {"r": "w", "z": "w:gz"}.get(name[-1], "w:gz"))
    seen: list[tuple[str, int, int | None]] = []
    assert unpack(archive, into, folder="top", progress=lambda *told: seen.append(told)) == [into / "top"]
    assert {p.relative_to(into).as_posix(): p.read_bytes() for p in into.rglob("*") if p.is_file()} == {
        name: content for name, content in FILES.items() if name.startswith("top/")
    }
    assert {what for what, _, _ in seen} == {f"unpacking {name}"}
    assert seen[-1][1] == seen[-1][2], "the bar ends full"


def test_without_a_folder_all_is_kept_but_litter(tmp_path: Path, kit: Any) -> None:
    archive = kit.write_zip(tmp_path / "x.zip", {**FILES, "__MACOSX/._1": b"", ".DS_Store": b""})
    into = tmp_path / "into"
    into.mkdir()
    assert unpack(archive, into) == [into / "beside.txt", into / "top"]


@pytest.mark.parametrize(
    ("members", "got"),
    [
        ([a_file("../out.txt")], "climbs"),
        ([a_file("top/../../out.txt")], "climbs"),
        ([a_file("top/../a.txt")], "climbs"),
        ([a_file("/out.txt")], "no relative path"),
        ([a_file("C:/out.txt")], "no relative path"),
        ([a_file("..\\out.txt")], "no relative path"),
        ([a_link("top/l", "/etc/passwd")], "a link out of the archive"),
        ([a_link("top/l", "../../out")], "a link out of the archive"),
        ([a_link("l", "..")], "a link out of the archive"),
        ([("top/l", tarfile.LNKTYPE, "../out")], "a link out of the archive"),
        ([a_file("top/a"), a_link("top/l", "."), a_file("top/l/x")], "a path through a link"),
        ([a_link("top/l", "a"), a_file("top/l")], "a second member"),
        ([a_file("top/a"), a_file("top/a")], "a second member"),
        # Each link is well by itself; together they lead out.
        (
            [a_link("p", "top"), a_file("top/x"), a_link("top/up", "../p/.."), a_link("l", "top/up/..")],
            "outside the destination",
        ),
        ([("top/pipe", tarfile.FIFOTYPE, "")], "a device or a pipe"),
        ([("top/null", tarfile.CHRTYPE, "")], "a device or a pipe"),
    ],
)
def test_a_member_that_leaves_the_folder_undoes_all(
    members: list[Member], got: str, tmp_path: Path, snapshot: Callable[[Path], Any]
) -> None:
    archive = tar_of(tmp_path / "evil.tar", a_file("top/good.jpg"), *members)
    (tmp_path / "into").mkdir()
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match=r"evil\.tar") as raised:
        unpack(archive, tmp_path / "into")
    (fault,) = raised.value.faults
    assert got in fault.got
    assert fault.next_step.startswith("nothing was unpacked")
    assert snapshot(tmp_path) == before


def test_links_within_the_archive_are_kept(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "x.tar", a_file("top/a.jpg"), a_link("top/l", "a.jpg"), ("top/h", tarfile.LNKTYPE, "top/a.jpg")
    )
    into = tmp_path / "into"
    into.mkdir()
    unpack(archive, into)
    assert [(into / "top" / name).read_bytes() for name in ("l", "h")] == [b"mine", b"mine"]


@pytest.mark.parametrize(("mode", "got"), [(0o120777, "a link"), (0o010644, "a device or a pipe")])
def test_a_zip_may_hold_files_and_folders_only(mode: int, got: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        member = zipfile.ZipInfo("top/l")
        member.external_attr = mode << 16
        packed.writestr(member, "/etc/passwd")
    with pytest.raises(DataError) as raised:
        unpack(tmp_path / "x.zip", tmp_path)
    assert raised.value.faults[0].got == got
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_a_zip_may_not_climb(name: str, tmp_path: Path, kit: Any) -> None:
    archive = kit.write_zip(tmp_path / "x.zip", {"ok": b"", name: b""})
    with pytest.raises(DataError, match="stay inside"):
        unpack(archive, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("form", ["w", "w:gz", "zip"])
@given(share=st.floats(0, 0.999))
def test_one_that_is_cut_off_anywhere_leaves_nothing(form: str, share: float, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = folder / "whole"
    if form == "zip":
        with zipfile.ZipFile(whole, "w") as packed:
            for name, content in FILES.items():
                packed.writestr(name, content)
    else:
        with tarfile.open(whole, form) as tar:
            for name, content in FILES.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    content = whole.read_bytes()
    # A tar ends with blocks of zeros that fill up its last record: without some of them it is still whole.
    content = content.rstrip(b"\0") + bytes(512) if form == "w" else content
    (folder / "cut").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError) as raised:
        unpack(folder / "cut", folder)
    assert "fetch the archive again" in raised.value.faults[0].next_step
    assert sorted(p.name for p in folder.iterdir()) == ["cut", "whole"]


def test_nothing_that_is_there_is_replaced(tmp_path: Path, kit: Any, snapshot: Callable[[Path], Any]) -> None:
    archive = kit.write_tar(tmp_path / "x.tar", FILES)
    (tmp_path / "top").write_text("a file where the folder should be")
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match="a file of that name"):
        unpack(archive, tmp_path)
    assert snapshot(tmp_path) == before


def test_the_wrong_archive_is_told(tmp_path: Path, kit: Any) -> None:
    archive = kit.write_tar(tmp_path / "x.tar", FILES)
    with pytest.raises(DataError, match=r"a folder imagenet-r/ at its top(.|\n)*beside.txt, top"):
        unpack(archive, tmp_path, folder="imagenet-r")
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]
