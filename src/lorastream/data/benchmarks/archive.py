"""Unpacking tar and zip archives so that nothing lands, or points, outside of their folder.

An archive is unpacked into a folder beside its place, which gets its name when all is well; else nothing stays. Every
member is checked before it is written, on top of what `tarfile` and `zipfile` check: names that are absolute or climb,
members written through a link or over another, links that lead out, devices.
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lorastream.data.benchmarks.disk import Progress, no_progress, settle
from lorastream.errors import DataError

# What the standard library raises on an archive that is torn, damaged, or packed in a way that it does not know.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)
_CHUNK = 1 << 20
_BLOCK = 512  # bytes; a whole tar ends with blocks of zeros
_LITTER = ("__MACOSX", ".")  # how names begin that an archiver left beside the content


def unpack(archive: Path, into: Path, *, folder: str | None = None, progress: Progress = no_progress) -> list[Path]:
    """Unpack an archive.

    Args:
        archive: tar, plain or compressed, or zip.
        into: an existing folder; what stands in it is never replaced.
        folder: the one folder of the archive to keep, by its name at the archive's top; None for all that is there.
        progress: told how many bytes of the archive are read.

    Returns:
        What is new in `into`.

    Raises:
        DataError: the archive is damaged, has a member that is not allowed, lacks the folder, or would replace
            something. `into` is as it was.
    """
    with tempfile.TemporaryDirectory(prefix=f".{archive.name}.", suffix=".unfinished", dir=into) as scratch:
        place = Path(os.path.realpath(scratch))
        with _broken_told(archive):
            _extract(archive, _Gate(archive, place), progress)
        return _moved(archive, place, into, folder)


def _extract(archive: Path, gate: _Gate, progress: Progress) -> None:
    if tarfile.is_tarfile(archive):
        _untar(archive, gate, progress)
    elif zipfile.is_zipfile(archive):
        _unzip(archive, gate, progress)
    else:
        raise tarfile.ReadError("neither a tar nor a zip, or one that is cut off")


def _untar(archive: Path, gate: _Gate, progress: Progress) -> None:
    total = archive.stat().st_size
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            if member.issym() or member.islnk():
                gate.check_link(member.name, member.linkname, symbolic=member.issym())
            elif not member.isreg() and not member.isdir():
                gate.refuse(member.name, "a device or a pipe")
            if gate.lets_in(member.name, is_folder=member.isdir()):
                tar.extract(member, gate.place, filter="data")
            progress(f"unpacking {archive.name}", raw.tell(), total)
        _check_end(tar, raw)
    gate.check_where_links_lead()
    progress(f"unpacking {archive.name}", total, total)


def _check_end(tar: tarfile.TarFile, raw: BinaryIO) -> None:
    """See that a tar ends as it should: one cut off between two members reads like a whole one."""
    if tar.fileobj is raw:
        raw.seek(tar.offset)
        if raw.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError("it is cut off")
    while tar.fileobj.read(_CHUNK):
        pass  # a compressed one checks itself at its very end


def _unzip(archive: Path, gate: _Gate, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        total, done = sum(member.compress_size for member in members), 0
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                gate.refuse(member.filename, "a link" if stat.S_ISLNK(kind) else "a device or a pipe")
            if gate.lets_in(member.filename, is_folder=member.is_dir()):
                packed.extract(member, gate.place)
            done += member.compress_size
            progress(f"unpacking {archive.name}", done, total)


class _Gate:
    """Looks at every member of an archive before it is written.

    Args:
        archive: for messages.
        place: where its members go; a real path.
    """

    def __init__(self, archive: Path, place: Path) -> None:
        self.archive, self.place = archive, place
        self._known_folders: set[Path] = set()
        self._links: list[Path] = []

    def refuse(self, name: str, what: str) -> None:
        raise _refused(self.archive, name, what)

    def lets_in(self, name: str, *, is_folder: bool) -> bool:
        """Check a member's name and place; false where there is nothing to write."""
        path = self._inside(name)
        if path == self.place:
            return False
        self._check_folder(name, path.parent)
        if os.path.lexists(path) and not (is_folder and path.is_dir() and not path.is_symlink()):
            self.refuse(name, "a second member of that name")
        return True

    def check_link(self, name: str, target: str, *, symbolic: bool) -> None:
        """Check where a link says that it leads; a hard one's target is relative to the archive's top."""
        start = PurePosixPath(name).parent.as_posix() if symbolic else ""
        end = os.path.normpath(f"{start}/{target}" if start not in {"", "."} else target)
        if target.startswith("/") or end == ".." or end.startswith("../") or _is_foreign(target):
            self.refuse(name, f"a link out of the archive, to {target!r}")
        if symbolic:
            self._links.append(self._inside(name))
        else:
            self._check_folder(name, self._inside(target))

    def check_where_links_lead(self) -> None:
        """Check the links once all is written: one may lead through another."""
        for link in self._links:
            if not Path(os.path.realpath(link)).is_relative_to(self.place):
                self.refuse(str(link.relative_to(self.place)), "a link out of the archive")

    def _inside(self, name: str) -> Path:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or _is_foreign(name):
            self.refuse(name, "a name that is no relative path")
        if ".." in path.parts:
            self.refuse(name, "a path that climbs out of its folder")
        return self.place.joinpath(*path.parts)

    def _check_folder(self, name: str, folder: Path) -> None:
        if folder not in self._known_folders:
            if Path(os.path.realpath(folder)) != folder:
                self.refuse(name, "a path through a link")
            self._known_folders.add(folder)


def _is_foreign(name: str) -> bool:
    """Whether a name means something else on another system: a drive, a backslash, an end before the end."""
    return "\0" in name or "\\" in name or re.match("[A-Za-z]:", name) is not None


@contextmanager
def _broken_told(archive: Path) -> Generator[None]:
    try:
        yield
    except tarfile.FilterError as error:
        raise _refused(archive, error.tarinfo.name, str(error)) from error
    except _BROKEN as error:
        raise _broken(archive, error) from error
    except OSError as error:
        if error.errno is not None:  # what the system says, such as a full disk, is no fault of the archive
            raise
        raise _broken(archive, error) from error


def _refused(archive: Path, name: str, got: str) -> DataError:
    return DataError(
        f"{archive}, member {name!r}",
        expected="files and folders that stay inside the folder of the archive",
        got=got,
        next_step="nothing was unpacked; fetch the archive from its official address (lorastream data list)",
    )


def _broken(archive: Path, error: Exception) -> DataError:
    return DataError(
        str(archive),
        expected="a whole tar or zip archive",
        got=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        next_step="nothing was unpacked; fetch the archive again",
    )


def _moved(archive: Path, place: Path, into: Path, folder: str | None) -> list[Path]:
    """Move what was unpacked to where it belongs, all or nothing."""
    tops = list(_tops(place))
    wanted = tops if folder is None else [top for top in tops if top.name == folder and top.is_dir()]
    if not wanted:
        raise DataError(
            str(archive),
            expected="something to unpack" if folder is None else f"a folder {folder}/ at its top",
            got=", ".join(top.name for top in tops[:5]) or "nothing",
            next_step="give the official archive (lorastream data list), or one with train/ and test/ folders "
            "together with --train-folder and --test-folder",
        )
    for top in wanted:
        if os.path.lexists(into / top.name):
            raise DataError(
                str(into / top.name),
                expected=f"no such name yet, as {archive.name} unpacks to it",
                got="a folder of that name" if (into / top.name).is_dir() else "a file of that name",
                next_step="nothing was unpacked; move it away, or name another folder with --root",
            )
    for top in wanted:
        settle(top, into / top.name)
    return [into / top.name for top in wanted]


def _tops(place: Path) -> Iterator[Path]:
    return (entry for entry in sorted(place.iterdir()) if not entry.name.startswith(_LITTER))
