"""A split as one JSON document: which images of which class are to learn from, and which to test on.

`<root>/lorastream/<benchmark>/<split>.json`. Its SHA-256 is that of what it says of the images alone, so that two
people can tell whether they have the same split. The order of classes is the order of labels.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from lorastream.data.benchmarks import disk
from lorastream.errors import DataError

SCHEMA = 1
Kind = Literal["drawn", "official", "published", "folders", "lists"]
OUR_FOLDER = "lorastream"
_SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _stays_below(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise ValueError("a path that stays below the root")
    return path


Below = Annotated[str, AfterValidator(_stays_below)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitClass(_Part):
    """One class of a split.

    Attributes:
        name: of the class.
        train: images to learn from: paths below the manifest's folder, or records, `train.bin[17]`.
        test: images to test on.
    """

    name: str
    train: tuple[Below, ...]
    test: tuple[Below, ...]


class UnpackedArchive(_Part):
    """An archive that was unpacked or read for a split.

    Attributes:
        name: of the file.
        sha256: as it was seen; also where nobody published one.
    """

    name: str
    sha256: str


class Manifest(_Part):
    """A split of a benchmark.

    Attributes:
        schema_version: of this document.
        benchmark: its name.
        split: the split's name.
        kind: how the split came about: drawn from a seed, shipped by the makers of the benchmark, published by others,
            or given as folders or lists.
        rule: the same in words.
        folder: what the paths are below, relative to the root.
        form: what the images are: files, or records of CIFAR's binary files.
        archives: what was unpacked when the split was made.
        classes: in the order of labels.
        sha256: of benchmark, form and classes.
    """

    schema_version: Literal[1] = SCHEMA
    benchmark: str
    split: str
    kind: Kind
    rule: str
    folder: Below
    form: Literal["files", "cifar_records"] = "files"
    archives: tuple[UnpackedArchive, ...] = ()
    classes: tuple[SplitClass, ...]
    sha256: str = ""

    @property
    def counts(self) -> tuple[int, int]:
        """Training and test images."""
        return sum(len(each.train) for each in self.classes), sum(len(each.test) for each in self.classes)

    def digest(self) -> str:
        """Return the SHA-256 of what it says of the images: equal for equal splits, wherever they lie."""
        content = self.model_dump(mode="json", include={"benchmark", "form", "classes"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def signed(self) -> Manifest:
        """Return the manifest with its SHA-256."""
        return self.model_copy(update={"sha256": self.digest()})


def place(root: Path, benchmark: str, split: str) -> Path:
    """Return where a split's manifest lies.

    Raises:
        DataError: the split's name is no plain file name.
    """
    if not _SPLIT_NAME.fullmatch(split):
        raise DataError(
            "--split",
            expected="a name of letters, digits, dots, dashes and underscores",
            got=repr(split),
            next_step="choose another name, such as official or seed0",
        )
    return root / OUR_FOLDER / benchmark / f"{split}.json"


def splits_there(root: Path, benchmark: str) -> list[str]:
    """Return the names of the splits on disk."""
    return sorted(file.stem for file in (root / OUR_FOLDER / benchmark).glob("*.json") if file.is_file())


def write(manifest: Manifest, root: Path) -> Path:
    """Write a manifest to its place and return it; it is there whole or not at all."""
    path = place(root, manifest.benchmark, manifest.split)
    disk.write(path, manifest.model_dump_json(indent=0) + "\n")
    return path


def read(path: Path) -> Manifest:
    """Read a manifest; whether its SHA-256 fits is for the caller to compare with `digest()`.

    Raises:
        DataError: it is torn, or no manifest that this version can read.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise DataError(
            str(path),
            expected=f"the manifest of a split, schema {SCHEMA}",
            got=f"{'.'.join(map(str, detail['loc'])) or 'the document'}: {detail['msg']}",
            next_step="remove the file and prepare the split again: lorastream data prepare",
        ) from error
    except OSError as error:
        raise DataError(
            str(path),
            expected="a file that can be read",
            got=error.strerror or type(error).__name__,
            next_step="see that it is a file and that you may read it",
        ) from error


def read_intact(path: Path) -> Manifest:
    """Read a manifest and check its SHA-256.

    Raises:
        DataError: as `read`, or it was changed since it was written.
    """
    manifest = read(path)
    if manifest.digest() != manifest.sha256:
        raise DataError(
            str(path),
            expected=f"a split with the SHA-256 that stands in it, {manifest.sha256[:16]}...",
            got=f"{manifest.digest()[:16]}...: it was changed since it was made",
            next_step="remove the file and prepare the split again: lorastream data prepare",
        )
    return manifest
