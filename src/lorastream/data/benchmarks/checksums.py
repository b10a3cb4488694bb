"""Is this file the one that was published?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lorastream.data.benchmarks.disk import Progress, no_progress
from lorastream.errors import DataError

_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Checksums:
    """Of one file, in hexadecimal digits.

    Attributes:
        md5: what the benchmarks' makers publish; guards against damage, not against malice.
        sha256: what a manifest keeps.
    """

    md5: str
    sha256: str


def checksums(file: Path, *, progress: Progress = no_progress) -> Checksums:
    """Read a file once and return its checksums."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    done, total = 0, file.stat().st_size
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
            done += len(chunk)
            progress(f"checking {file.name}", done, total)
    return Checksums(md5=md5.hexdigest(), sha256=sha256.hexdigest())


def checked(file: Path, *, md5: str | None, next_step: str, progress: Progress = no_progress) -> Checksums:
    """Return the checksums of a file.

    Args:
        file: to read.
        md5: that it must have; None where none is known.
        next_step: what to do about another one.
        progress: told how far it is.

    Raises:
        DataError: it is another file, or a damaged one.
    """
    seen = checksums(file, progress=progress)
    if md5 is not None and seen.md5 != md5:
        raise DataError(
            str(file),
            expected=f"the file that was published, MD5 {md5}",
            got=f"MD5 {seen.md5} ({file.stat().st_size:,} bytes)",
            next_step=next_step,
        )
    return seen
