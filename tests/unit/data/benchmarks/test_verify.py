"""A split that is whole passes every check; whatever is amiss is counted and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.data.benchmarks.catalogue import Benchmark
from lorastream.data.benchmarks.prepare import prepare
from lorastream.data.benchmarks.verify import verify
from lorastream.errors import DataError


@pytest.fixture
def rendition(tmp_path: Path, kit: Any) -> Benchmark:
    benchmark, archive = kit.rendition(tmp_path)
    prepare(benchmark, tmp_path / "root", archives=[archive])
    return benchmark


def test_a_whole_split(rendition: Benchmark, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    found = verify(rendition, tmp_path / "root", "seed0", decode_all=True, progress=lambda *each: told.append(each))
    assert found.faults == ()
    assert all(check.holds for check in found.checks)
    assert [(check.what, check.expected, check.found) for check in found.checks[1:]] == [
        ("classes with both roles", "3", "3"),
        ("training images", None, "12"),
        ("test images", None, "3"),
        ("images", "15", "15"),
        ("images there", "15", "15"),
        ("images that decode", "15", "15"),
    ]
    assert told[-1] == ("decoding images", 15, 15)


@pytest.mark.parametrize(
    ("harm", "what", "got"),
    [
        (lambda r: (r / "imagenet-r/n00/art_0.jpg").unlink(), "images there", "1 not: n00/art_0.jpg"),
        (lambda r: (r / "imagenet-r/n00/art_0.jpg").write_bytes(b""), "images there", "1 not: n00/art_0.jpg"),
        (lambda r: (r / "imagenet-r").rename(r / "moved"), "images there", "15 not: "),
        (lambda r: (r / "imagenet-r/n02/art_1.jpg").write_bytes(b"GIF"), "images that decode", "1 not: n02/art_1.jpg"),
        (
            lambda r: (r / "imagenet-r/n02/art_1.jpg").write_bytes((r / "imagenet-r/n02/art_1.jpg").read_bytes()[:-40]),
            "images that decode",
            "1 not: n02/art_1.jpg",
        ),
    ],
    ids=["gone", "empty", "moved", "no image", "torn"],
)
def test_what_is_amiss_on_disk(
    harm: Callable[[Path], object], what: str, got: str, rendition: Benchmark, tmp_path: Path
) -> None:
    harm(tmp_path / "root")
    found = verify(rendition, tmp_path / "root", "seed0", decode_all=True)
    (fault,) = found.faults
    assert fault.where == f"imagenet_r, split seed0: {what}"
    assert fault.got.startswith(got)
    assert [check.what for check in found.checks if not check.holds] == [what]


def test_without_decoding_a_broken_image_passes(rendition: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "root/imagenet-r/n02/art_1.jpg").write_bytes(b"GIF")
    assert verify(rendition, tmp_path / "root", "seed0").faults == ()


def test_a_manifest_that_was_changed(rendition: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "root/lorastream/imagenet_r/seed0.json"
    path.write_text(path.read_text().replace("n00/art_0.jpg", "n00/art_9.jpg"))
    found = verify(rendition, tmp_path / "root", "seed0")
    assert [fault.where.partition(": ")[2] for fault in found.faults] == ["SHA-256 of the split", "images there"]


def test_an_official_split_must_have_its_counts(tmp_path: Path, kit: Any) -> None:
    from dataclasses import replace

    benchmark, archive = kit.birds(tmp_path)
    prepare(benchmark, tmp_path / "root", archives=[archive])
    found = verify(replace(benchmark, own_counts=(3, 3), n_classes=5), tmp_path / "root", "official")
    assert [(fault.expected, fault.got) for fault in found.faults] == [("5", "2"), ("3", "4"), ("3", "2")]


@pytest.mark.parametrize(
    ("harm", "got"),
    [
        (lambda folder: (folder / "test.bin").unlink(), "3 not: test.bin[2], test.bin[0], test.bin[1]"),
        (lambda folder: _swap(folder / "test.bin"), "2 not: test.bin[0], test.bin[1]"),
    ],
)
def test_records_are_there_with_their_labels(
    harm: Callable[[Path], object], got: str, tmp_path: Path, kit: Any
) -> None:
    benchmark, archive = kit.cifar(tmp_path)
    prepare(benchmark, tmp_path / "root", archives=[archive])
    assert verify(benchmark, tmp_path / "root", "official", decode_all=True).faults == ()
    harm(tmp_path / "root/cifar-100-binary")
    (fault,) = verify(benchmark, tmp_path / "root", "official").faults
    assert fault.got == got


def _swap(file: Path) -> None:
    """Exchange the first two records."""
    content = file.read_bytes()
    file.write_bytes(content[3074:6148] + content[:3074] + content[6148:])


def test_a_split_that_is_not_there(rendition: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="splits that are there: seed0"):
        verify(rendition, tmp_path / "root", "seed1")
