"""Splits given as lists: lines of `path label` as DomainNet's, or YAML with `data` and `targets` as CODA-Prompt's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lorastream.data.benchmarks.manifest import SplitClass
from lorastream.errors import DataError

Entry = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """The entries of the lists of one role, and which list each is from.

    Attributes:
        files: the lists.
        entries: path and label.
    """

    files: Sequence[Path]
    entries: list[Entry]


def read_lists(
    train: Sequence[Path], test: Sequence[Path], *, root: Path, folder: str
) -> tuple[str, tuple[SplitClass, ...]]:
    """Return a split's folder, relative to the root, and its classes.

    A class is called as the folder that its images lie in; classes are in the order of their labels. Paths may begin
    with folders of their author's machine (`data/imagenet-r/...`): as much is left out as is needed to find the first.

    Args:
        train: lists of training images.
        test: lists of test images.
        root: where images are looked for.
        folder: of the benchmark, below the root, where they are looked for first.

    Raises:
        DataError: a list cannot be read, the first image is nowhere on disk, one is listed twice or climbs, or labels
            and folders do not go together.
    """
    roles = [_Listed(files=files, entries=[e for file in files for e in _entries(file)]) for files in (train, test)]
    for role in roles:
        if not role.entries:
            raise _fault(role.files[0], "at least one image", "none", "give the list of the benchmark's images")
    base, skipped = _base(roles[0], root, folder)
    for role in roles:
        role.entries[:] = [(_without(path, skipped), label) for path, label in role.entries]
    _check_once(roles)
    return base.relative_to(root).as_posix(), _classes(roles)


def _entries(file: Path) -> list[Entry]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(file, "a list of images", f"{type(error).__name__}: {error}", "correct the list's path") from error
    if file.suffix in {".yaml", ".yml"}:
        return _checked(file, _from_yaml(file, text))
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), start=1):
        path, _, label = line.strip().rpartition(" ")
        if line.strip() and (not path or not label.isdecimal()):
            where = f"{file}, line {number}"
            raise _fault(where, "a path, a blank and a label from 0", repr(line), "correct the line")
        if path:
            entries.append((path.strip(), int(label)))
    return _checked(file, entries)


def _from_yaml(file: Path, text: str) -> list[Entry]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a list may have 400,000 lines; the other one takes minutes
    try:
        document: Any = yaml.load(text, Loader=loader)  # noqa: S506 (both loaders are safe ones)  # nosec B506
        paths, labels = document["data"], document["targets"]
        return [(str(path), int(label)) for path, label in zip(paths, labels, strict=True)]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        expected = "YAML with `data`, the paths, and `targets`, a label for each"
        raise _fault(file, expected, f"{type(error).__name__}: {error}", "give the list as it was published") from error


def _checked(file: Path, entries: list[Entry]) -> list[Entry]:
    for path, label in entries:
        pure = PurePosixPath(path)
        if ".." in pure.parts or "\\" in path or not pure.name or len(pure.parts) == 1 or label < 0:
            expected = "images in folders of their classes, below the root, with labels from 0"
            raise _fault(file, expected, f"{path!r} {label}", "correct the line")
    return entries


def _base(role: _Listed, root: Path, folder: str) -> tuple[Path, int]:
    """Return the folder that paths are below, and how many of their first parts to leave out."""
    first = role.entries[0][0]
    parts = PurePosixPath(first).parts
    for base in (root / folder, root):  # wherever the root is, the paths of the same lists are the same
        for skipped in range(len(parts) - 1):
            if _is_file(base.joinpath(*(part for part in parts[skipped:] if part != "/"))):
                return base, skipped
    expected = f"its images in {root / folder}, or below {root}"
    raise _fault(role.files[0], expected, f"no {first} there", "unpack the archives there, or correct --root")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have so long a name
        return False


def _without(path: str, skipped: int) -> str:
    return PurePosixPath(*PurePosixPath(path).parts[skipped:]).as_posix().lstrip("/")


def _check_once(roles: Sequence[_Listed]) -> None:
    seen: set[str] = set()
    for role in roles:
        for path, _ in role.entries:
            if path in seen:
                where = " and ".join(str(role.files[0]) for role in roles)
                raise _fault(where, "every image once", f"{path} twice", "take one of the lines out")
            seen.add(path)


def _classes(roles: Sequence[_Listed]) -> tuple[SplitClass, ...]:
    names: dict[int, str] = {}
    labels: dict[str, int] = {}
    images: dict[int, tuple[list[str], list[str]]] = {}
    for number, role in enumerate(roles):
        for path, label in role.entries:
            name = PurePosixPath(path).parent.name
            if names.setdefault(label, name) != name or labels.setdefault(name, label) != label:
                got = f"{path!r} {label}, where {label} is {names[label]} and {name} is {labels.get(name, label)}"
                raise _fault(role.files[0], "one label for each class folder", got, "correct the line")
            images.setdefault(label, ([], []))[number].append(path)
    if sorted(names) != list(range(len(names))):
        lacking = next(label for label in range(len(names)) if label not in names)
        raise _fault(roles[0].files[0], "labels from 0 without a gap", f"none of label {lacking}", "give all lists")
    return tuple(
        SplitClass(name=names[label], train=tuple(sorted(images[label][0])), test=tuple(sorted(images[label][1])))
        for label in sorted(names)
    )


def _fault(where: Path | str, expected: str, got: str, next_step: str) -> DataError:
    return DataError(str(where), expected=expected, got=got, next_step=next_step)
