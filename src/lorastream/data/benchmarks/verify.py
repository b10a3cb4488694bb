"""Is a split what it should be: classes and images counted, every file there, and, where asked, every one decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lorastream.data.benchmarks import records
from lorastream.data.benchmarks.catalogue import Benchmark
from lorastream.data.benchmarks.disk import Progress, no_progress
from lorastream.data.benchmarks.manifest import Manifest, place, read
from lorastream.data.benchmarks.missing import no_manifest
from lorastream.data.images import decode
from lorastream.errors import DataError, Fault

_SHOWN = 3
_CHUNK = 256  # images decoded before progress is told


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: in words.
        expected: what it should be; None where nothing is laid down.
        found: what it is.
    """

    what: str
    expected: str | None
    found: str

    @property
    def holds(self) -> bool:
        """Whether it is as it should be."""
        return self.expected is None or self.expected == self.found


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of looking at a split.

    Attributes:
        manifest: of the split.
        checks: one by one.
        faults: what is amiss; none where all is well.
    """

    manifest: Manifest
    checks: tuple[Check, ...]
    faults: tuple[Fault, ...]


def verify(
    benchmark: Benchmark, root: Path, split: str, *, decode_all: bool = False, progress: Progress = no_progress
) -> Verification:
    """Look at a split on disk.

    Args:
        benchmark: which one.
        root: the folder that it was prepared in.
        split: the split's name.
        decode_all: decode every image, which takes minutes for large benchmarks.
        progress: told how many images are looked at.

    Raises:
        DataError: there is no such split, or its manifest cannot be read.
    """
    path = place(root, benchmark.name, split)
    if not path.is_file():
        raise no_manifest(benchmark, root, split)
    return examine(benchmark, read(path), root, decode_all=decode_all, progress=progress)


def examine(
    benchmark: Benchmark, manifest: Manifest, root: Path, *, decode_all: bool = False, progress: Progress = no_progress
) -> Verification:
    """Look at a split whose manifest is known; arguments as those of `verify`."""
    where = f"{benchmark.name}, split {manifest.split}"
    again = f"it looked in {root / manifest.folder}: unpack the archives again, or correct --root"
    checks = [
        Check(what="SHA-256 of the split", expected=manifest.sha256[:16], found=manifest.digest()[:16]),
        *_counts(benchmark, manifest),
    ]
    faults = [
        Fault(f"{where}: {check.what}", check.expected or "", check.found, _step(check, again))
        for check in checks
        if not check.holds
    ]
    n_images = sum(manifest.counts)
    amiss = list(_absent(manifest, root, progress))
    checks.append(_tally("images there", n_images, n_images - len(amiss)))
    if not amiss and decode_all:
        amiss = list(_broken(manifest, root, progress))
        checks.append(_tally("images that decode", n_images, n_images - len(amiss)))
    if amiss:
        got = f"{len(amiss):,} not: {', '.join(amiss[:_SHOWN])}{', ...' if len(amiss) > _SHOWN else ''}"
        faults.append(Fault(f"{where}: {checks[-1].what}", f"all {n_images:,}", got, again))
    return Verification(manifest=manifest, checks=tuple(checks), faults=tuple(faults))


def _tally(what: str, expected: int, found: int) -> Check:
    return Check(what=what, expected=f"{expected:,}", found=f"{found:,}")


def _step(check: Check, again: str) -> str:
    if check.what.startswith("SHA"):
        return "the manifest was changed: remove it and prepare the split again"
    return again


def _counts(benchmark: Benchmark, manifest: Manifest) -> Iterator[Check]:
    """Compare counts with what is laid down; a split that a user gives may leave images out, but no class."""
    classes = [each for each in manifest.classes if each.train and each.test]
    yield _tally("classes with both roles", benchmark.n_classes, len(classes))
    train, test = manifest.counts
    laid_down: tuple[int, int] | None = None
    if manifest.kind == "official" and benchmark.own_split:
        laid_down = benchmark.own_counts
    elif manifest.kind in {"official", "published"} and manifest.split in benchmark.lists:
        laid_down = benchmark.lists[manifest.split].counts
    for i, (what, number) in enumerate((("training images", train), ("test images", test))):
        yield Check(what=what, expected=None if laid_down is None else f"{laid_down[i]:,}", found=f"{number:,}")
    if laid_down is None:
        whole = manifest.kind == "drawn"
        yield Check(what="images", expected=f"{benchmark.n_images:,}" if whole else None, found=f"{train + test:,}")


def _images(manifest: Manifest) -> list[tuple[str, int]]:
    """Return all images with their labels."""
    return [(name, label) for label, each in enumerate(manifest.classes) for name in (*each.train, *each.test)]


def _absent(manifest: Manifest, root: Path, progress: Progress) -> Iterator[str]:
    """Yield the images that are not there, or are empty, or are records of another class."""
    folder = root / manifest.folder
    images = _images(manifest)
    if manifest.form == "cifar_records":
        yield from _absent_records(images, folder)
        return
    for number, (name, _) in enumerate(images, start=1):
        try:
            if (folder / name).stat().st_size == 0:
                yield name
        except OSError:
            yield name
        if number % _CHUNK == 0 or number == len(images):
            progress("looking for images", number, len(images))


def _absent_records(images: list[tuple[str, int]], folder: Path) -> Iterator[str]:
    labels: dict[str, list[int]] = {}
    for name, label in images:
        file, row = records.file_and_row(name)
        if file not in labels:
            try:
                labels[file] = records.fine_labels(records.open_records(folder / file)).tolist()
            except DataError:
                labels[file] = []
        if row >= len(labels[file]) or labels[file][row] != label:
            yield name


def _broken(manifest: Manifest, root: Path, progress: Progress) -> Iterator[str]:
    """Yield the images that do not decode; records are pixels, and always do."""
    names = [name for name, _ in _images(manifest)]
    folder = root / manifest.folder

    def is_whole(name: str) -> bool:
        try:
            decode(folder / name, name=name)
        except DataError:
            return False
        return True

    if manifest.form == "cifar_records":
        return
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            yield from (name for name, whole in zip(chunk, pool.map(is_whole, chunk), strict=True) if not whole)
            progress("decoding images", start + len(chunk), len(names))
