"""From a rule to a manifest, over images that are unpacked; lists that were published are fetched."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lorastream.data.benchmarks import disk, splits
from lorastream.data.benchmarks.catalogue import OFFICIAL, Benchmark, RemoteFile
from lorastream.data.benchmarks.checksums import Checksums, checked
from lorastream.data.benchmarks.disk import Progress, no_progress
from lorastream.data.benchmarks.download import download
from lorastream.data.benchmarks.lists import read_lists
from lorastream.data.benchmarks.manifest import Kind, Manifest, SplitClass
from lorastream.data.benchmarks.request import Drawn, Folders, Lists, Published, Rule
from lorastream.errors import DataError


def build(benchmark: Benchmark, root: Path, name: str, rule: Rule, *, progress: Progress = no_progress) -> Manifest:
    """Return the manifest of a split, not yet checked, signed or written.

    Args:
        benchmark: whose images are unpacked below the root.
        root: folder of all benchmarks.
        name: of the split.
        rule: how it comes about.
        progress: told what is fetched.

    Raises:
        DataError: what the rule needs is missing, or the images do not fit it.
        RunError: a published list cannot be fetched.
    """

    def manifest(kind: Kind, told: str, folder: str, classes: tuple[SplitClass, ...]) -> Manifest:
        form = "cifar_records" if benchmark.own_split == "cifar" else "files"
        return Manifest(
            benchmark=benchmark.name, split=name, kind=kind, rule=told, folder=folder, form=form, classes=classes
        )

    folder = benchmark.folder
    match rule:
        case Drawn(seed=seed, test_fraction=fraction):
            classes = splits.drawn(root / folder, seed=seed, test_fraction=fraction)
            return manifest("drawn", f"{fraction:.0%} of each class held out, seed {seed}", folder, classes)
        case Folders():
            train, test = (_below(root, place) for place in (rule.train, rule.test))
            base, classes = splits.two_folders(train, test)
            below = base.relative_to(_top(root)).as_posix()
            return manifest("folders", f"folders {rule.train} and {rule.test}", below, classes)
        case Lists():
            check_files((*rule.train, *rule.test))
            below, classes = read_lists(rule.train, rule.test, root=root, folder=folder)
            names = ", ".join(file.name for file in (*rule.train, *rule.test))
            return manifest("lists", f"lists {names}", below, classes)
        case Published():
            return manifest(*_published(benchmark, root, rule.name, progress))


def _published(
    benchmark: Benchmark, root: Path, name: str, progress: Progress
) -> tuple[Kind, str, str, tuple[SplitClass, ...]]:
    if name == OFFICIAL and benchmark.own_split is not None:
        read = splits.cub if benchmark.own_split == "cub" else splits.cifar
        return "official", f"as {benchmark.title} ships it", benchmark.folder, read(root / benchmark.folder)
    lists = benchmark.lists[name]
    kind = "official" if name == OFFICIAL else "published"
    train, test = ([obtained(each, root, progress=progress)[0] for each in role] for role in (lists.train, lists.test))
    return kind, lists.source, *read_lists(train, test, root=root, folder=benchmark.folder)


def obtained(
    remote: RemoteFile, root: Path, *, given: Path | None = None, progress: Progress = no_progress
) -> tuple[Path, Checksums]:
    """Return a published file and its checksums: the one given, else that of the root, fetched where it is missing.

    Raises:
        DataError: it is not the file that was published; if it was fetched now, it does not stay.
        RunError: it cannot be fetched.
    """
    file = given or root / remote.path
    is_new = not file.exists()
    with disk.made(file.parent):
        if is_new:
            download(remote.address, file, progress=progress)
            step = f"fetch it with a browser from {remote.address} and give it with --archive"
        else:
            step = f"fetch it again from {remote.address}; another packing takes --train-folder and --test-folder"
        try:
            return file, checked(file, md5=remote.md5, next_step=step, progress=progress)
        except DataError:
            if is_new:
                file.unlink()
            raise


def check_files(files: Iterable[Path]) -> None:
    """Refuse paths that are no files.

    Raises:
        DataError: naming the first one.
    """
    for file in files:
        if not file.is_file():
            raise DataError(
                str(file),
                expected="an archive or a list that was downloaded",
                got="a folder" if file.is_dir() else "no such file",
                next_step="correct the path",
            )


def _below(root: Path, folder: Path) -> Path:
    """Return a folder of a given split below `_top(root)`; links are not followed, as data often lie behind one.

    Raises:
        DataError: it is missing or lies outside of the root, where a manifest cannot name its files.
    """
    whole = _top(root / folder)
    if not whole.is_dir() or not whole.is_relative_to(_top(root)):
        raise DataError(
            str(folder),
            expected=f"a folder below the root, {root}",
            got="one outside of it" if whole.is_dir() else "no such folder",
            next_step="name a folder of the archive, or another --root",
        )
    return whole


def _top(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
