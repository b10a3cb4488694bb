"""Put a split of a benchmark on disk: fetch what is missing, unpack it, write the manifest; move and delete nothing."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorastream.data.benchmarks import disk, manifest
from lorastream.data.benchmarks.archive import unpack
from lorastream.data.benchmarks.build import build, check_files, obtained
from lorastream.data.benchmarks.catalogue import Benchmark, RemoteFile
from lorastream.data.benchmarks.checksums import checksums
from lorastream.data.benchmarks.disk import Progress, no_progress
from lorastream.data.benchmarks.manifest import Manifest, UnpackedArchive
from lorastream.data.benchmarks.request import Folders, Request, Rule, settle_rule
from lorastream.data.benchmarks.verify import examine
from lorastream.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A split on disk.

    Attributes:
        manifest: what it says.
        path: where it lies.
        is_new: whether it was written now; else the very same was there already.
        notes: what its user should know.
    """

    manifest: Manifest
    path: Path
    is_new: bool
    notes: tuple[str, ...]


def prepare(
    benchmark: Benchmark,
    root: Path,
    request: Request | None = None,
    *,
    archives: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> Prepared:
    """Put a split of a benchmark on disk.

    Args:
        benchmark: which one.
        root: folder for all benchmarks; made where it is missing. What is unpacked there already is used.
        request: which split; None for the benchmark's default.
        archives: downloaded ones; the others are looked for in the root, and else fetched.
        progress: told what is being done.

    Raises:
        DataError: the request, an archive or the images are not as they must be; the root is as it was.
        RunError: an archive cannot be fetched; what came of it is kept and gone on from.
    """
    name, rule = settle_rule(benchmark, request or Request())
    path = manifest.place(root, benchmark.name, name)
    check_files(archives)
    with disk.made(root):
        with _laid_out(benchmark, root, rule, archives, progress) as (unpacked, notes):
            made = build(benchmark, root, name, rule, progress=progress)
            made = made.model_copy(update={"archives": tuple(unpacked)}).signed()
            if faults := examine(benchmark, made, root, progress=progress).faults:
                raise DataError.of(faults)
        if path.exists():
            there = manifest.read_intact(path)
            _check_same(path, made, there)
            return Prepared(manifest=there, path=path, is_new=False, notes=tuple(notes))
        manifest.write(made, root)
    left_out = benchmark.n_images - sum(made.counts)
    if left_out and made.kind in {"folders", "lists"}:
        notes.append(f"{abs(left_out):,} images {'fewer' if left_out > 0 else 'more'} than {benchmark.title} has")
    return Prepared(manifest=made, path=path, is_new=True, notes=tuple(notes))


def _check_same(path: Path, made: Manifest, there: Manifest) -> None:
    if there.sha256 != made.sha256:
        raise DataError(
            str(path),
            expected="no split of that name yet, or the very same",
            got=f"another one: {there.rule}, SHA-256 {there.sha256[:16]}...",
            next_step=f"name yours with --split (its SHA-256 is {made.sha256[:16]}...), or remove that file",
        )


@contextmanager
def _laid_out(
    benchmark: Benchmark, root: Path, rule: Rule, archives: Sequence[Path], progress: Progress
) -> Generator[tuple[list[UnpackedArchive], list[str]]]:
    """See that the images are unpacked; gives what was unpacked for it, and notes."""
    if isinstance(rule, Folders):
        if all((root / folder).is_dir() for folder in (rule.train, rule.test)):
            yield [], _not_needed(archives)
            return
        with _unpacked_for_now(archives, root, progress) as unpacked:
            yield unpacked, []
        return
    given = _matched(benchmark, archives)
    there = [archive for archive in benchmark.archives if archive.unpacks_to and (root / archive.unpacks_to).is_dir()]
    unpacked = [
        _unpack(archive, given.get(archive.name), root, progress)
        for archive in benchmark.archives
        if archive not in there
    ]
    yield unpacked, _not_needed([given[archive.name] for archive in there if archive.name in given])


def _not_needed(archives: Sequence[Path]) -> list[str]:
    return [f"{archive} was not unpacked: its folder is there already" for archive in archives]


def _matched(benchmark: Benchmark, archives: Sequence[Path]) -> dict[str, Path]:
    """Return the given archives under their official names; where there is one alone, its name does not matter."""
    official = [archive.name for archive in benchmark.archives]
    if len(official) == len(archives) == 1:
        return {official[0]: archives[0]}
    for archive in archives:
        if archive.name not in official:
            raise DataError(
                f"--archive {archive}",
                expected=f"{' or '.join(official)}",
                got=repr(archive.name),
                next_step="give the archives their official names; with --train-folder and --test-folder, any name",
            )
    return {archive.name: archive for archive in archives}


def _unpack(archive: RemoteFile, given: Path | None, root: Path, progress: Progress) -> UnpackedArchive:
    """Unpack an official archive to its place."""
    file, seen = obtained(archive, root, given=given, progress=progress)
    into = (root / (archive.unpacks_to or ".")).parent
    folder = (root / archive.unpacks_to).name if archive.unpacks_to else None
    with disk.made(into):
        unpack(file, into, folder=folder, progress=progress)
    return UnpackedArchive(name=file.name, sha256=seen.sha256)


@contextmanager
def _unpacked_for_now(archives: Sequence[Path], root: Path, progress: Progress) -> Generator[list[UnpackedArchive]]:
    """Unpack archives of which nothing is known; what they unpacked to is taken away again where they do not fit."""
    fresh: list[Path] = []
    try:
        known: list[UnpackedArchive] = []
        for archive in archives:
            known.append(UnpackedArchive(name=archive.name, sha256=checksums(archive, progress=progress).sha256))
            fresh += unpack(archive, root, progress=progress)
        yield known
    except BaseException:
        for path in fresh:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
