"""A published benchmark, as `lorastream data prepare` put it on disk: `benchmark:imagenet_r` with `data.root`.

Images are decoded one by one when asked. Nothing is fetched: a split that is not there is told with the command that
makes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from lorastream.data.benchmarks import catalogue, records
from lorastream.data.benchmarks.manifest import Manifest, place, read_intact
from lorastream.data.benchmarks.missing import no_manifest, prepare_command
from lorastream.data.images import Dataset, Images, decode, fingerprint_of
from lorastream.errors import DataError


def load(benchmark: str, /, *, root: Path, split: str | None = None) -> Dataset:
    """Return a split of a benchmark; classes are in the order of its manifest.

    Args:
        benchmark: its name, as in `lorastream data list`.
        root: the folder that it was prepared in.
        split: the split's name; None for the benchmark's default.

    Raises:
        DataError: there is no such benchmark, the split is not prepared or was changed, or images are missing.
    """
    known = catalogue.find(benchmark)
    root = root.expanduser()
    name = split or known.default_split
    path = place(root, known.name, name)
    if not path.is_file():
        raise no_manifest(known, root, name)
    manifest = read_intact(path)
    if manifest.benchmark != known.name:
        raise DataError(
            str(path),
            expected=f"a split of {known.name}",
            got=f"one of {manifest.benchmark}",
            next_step=f"remove it and prepare the split again: {prepare_command(known, root, name)}",
        )
    make = _records if manifest.form == "cifar_records" else _files
    train, test = (make(manifest, root / manifest.folder, role) for role in ("train", "test"))
    return Dataset(
        name=known.name,
        class_names=tuple(each.name for each in manifest.classes),
        train=train,
        test=test,
        notes=(f"{known.title}, split {manifest.split} ({manifest.rule}), SHA-256 {manifest.sha256[:16]}",),
    )


def _named(manifest: Manifest, role: str) -> tuple[list[str], np.ndarray]:
    """Return the images of a role and their labels `[n]`."""
    by_class = [each.train if role == "train" else each.test for each in manifest.classes]
    labels = np.repeat(np.arange(len(by_class), dtype=np.int64), [len(names) for names in by_class])
    return [name for names in by_class for name in names], labels


def _files(manifest: Manifest, folder: Path, role: str) -> Images:
    names, labels = _named(manifest, role)
    return Images(
        labels=labels,
        read=lambda i: decode(folder / names[i], name=str(folder / names[i])),
        names=names,
        fingerprint=fingerprint_of(str(folder.resolve()), manifest.sha256, role, *_states(manifest, folder, names)),
    )


def _states(manifest: Manifest, folder: Path, names: list[str]) -> list[str]:
    """Return what changes with the files' content, without reading it."""
    states: list[str] = []
    for name in names:
        try:
            status = (folder / name).stat()
        except OSError as error:
            raise DataError(
                str(folder / name),
                expected=f"an image of {manifest.benchmark}, split {manifest.split}",
                got=error.strerror or type(error).__name__,
                next_step=f"lorastream data verify {manifest.benchmark} --root DIR --split {manifest.split} "
                "names all that is missing",
            ) from error
        states.append(f"{status.st_size} {status.st_mtime_ns}")
    return states


def _records(manifest: Manifest, folder: Path, role: str) -> Images:
    names, labels = _named(manifest, role)
    places = [records.file_and_row(name) for name in names]
    opened = {file: records.open_records(folder / file) for file in sorted({file for file, _ in places})}
    for name, (file, row) in zip(names, places, strict=True):
        if row >= len(opened[file]):
            raise DataError(
                f"{folder / file}",
                expected=f"the record {name} of split {manifest.split}",
                got=f"{len(opened[file]):,} records",
                next_step="unpack the archive again",
            )
    states = [f"{file} {(folder / file).stat().st_size} {(folder / file).stat().st_mtime_ns}" for file in opened]

    def read(i: int) -> PIL.Image.Image:
        file, row = places[i]
        return PIL.Image.fromarray(records.pixels(opened[file][row]))

    return Images(
        labels=labels,
        read=read,
        names=names,
        fingerprint=fingerprint_of(str(folder.resolve()), manifest.sha256, role, *states),
    )
