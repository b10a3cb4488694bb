"""A file is the one that was published, or it is refused with both checksums."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorastream.data.benchmarks.checksums import checked, checksums
from lorastream.errors import DataError

# RFC 1321 and FIPS 180-2: test vectors of "abc".
MD5 = "900150983cd24fb0d6963f7d28e17f72"
SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    (tmp_path / "abc").write_bytes(b"abc")
    return tmp_path / "abc"


def test_published_vectors(abc: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    seen = checksums(abc, progress=lambda *each: told.append(each))
    assert (seen.md5, seen.sha256) == (MD5, SHA256)
    assert told == [("checking abc", 3, 3)]


def test_the_right_file_and_one_of_which_nothing_is_known_pass(abc: Path) -> None:
    assert checked(abc, md5=MD5, next_step="").sha256 == checked(abc, md5=None, next_step="").sha256 == SHA256


def test_another_file_is_refused(abc: Path) -> None:
    with pytest.raises(DataError) as raised:
        checked(abc, md5="0" * 32, next_step="fetch it again")
    (fault,) = raised.value.faults
    assert (fault.where, fault.next_step) == (str(abc), "fetch it again")
    assert (fault.expected, fault.got) == (f"the file that was published, MD5 {'0' * 32}", f"MD5 {MD5} (3 bytes)")
