"""Any classification dataset of torchvision, by its class name: `torchvision:CIFAR100`, `torchvision:Flowers102`."""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from lorastream.data.holdout import hold_out
from lorastream.data.images import BROKEN_IMAGE_ERRORS, Dataset, Images, fingerprint_of, to_rgb
from lorastream.errors import DataError, unknown_name

_RESEEDS_GLOBALLY = frozenset({"FakeData"})  # it moves torch's global random state while an image is made
_LABEL_ATTRIBUTES = ("targets", "labels", "_labels", "y")
_FILE_ATTRIBUTES = ("samples", "_samples", "imgs", "_image_files", "images", "_images")
_PROBES = 16  # images whose pixels are hashed where neither arrays nor files are known


class _Labelled(Protocol):
    """What torchvision's classification datasets have in common."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


def load(
    dataset: str,
    /,
    *,
    root: Path,
    download: bool = False,
    train_split: str = "train",
    test_split: str = "test",
    test_fraction: float | None = None,
    seed: int = 0,
    arguments: dict[str, Any] | None = None,
) -> Dataset:
    """Return a torchvision dataset with its own split, or with a stated part held out where it has none.

    Args:
        dataset: name of a class in `torchvision.datasets`.
        root: where its files lie, or shall lie.
        download: whether files that are missing may be downloaded.
        train_split: value of `split` for training images, where the dataset has that argument.
        test_split: the same for test images.
        test_fraction: part of each class that is held out, for a dataset without a split.
        seed: of the choice of images held out.
        arguments: anything else that the dataset's constructor takes.

    Raises:
        DataError: there is no such dataset, it is not on disk, cannot be made so, or has no class labels.
    """
    constructor = _constructor(dataset)
    parameters = inspect.signature(constructor).parameters
    general: dict[str, Any] = dict(arguments or {})
    if "root" in parameters:
        general["root"] = str(root.expanduser())
    if "download" in parameters:
        general["download"] = download

    def role(**split: Any) -> tuple[Images, tuple[str, ...]]:  # noqa: ANN401 (whatever the constructor takes)
        made = _make(dataset, constructor, general | split, download=download)
        return _images(dataset, made, root, split)

    if "train" in parameters:
        (train, names), (test, _) = role(train=True), role(train=False)
    elif "split" in parameters and "split" not in general:
        (train, names), (test, _) = role(split=train_split), role(split=test_split)
    else:
        images, names = role()
        if test_fraction is None:
            raise DataError(
                f"torchvision:{dataset}",
                expected="test_fraction, as this dataset has no split of its own",
                got="none",
                next_step="set data.test_fraction=0.2",
            )
        train, test = hold_out(images, fraction=test_fraction, seed=seed, class_names=names)
    return Dataset(name=dataset, class_names=names, train=train, test=test)


def _constructor(name: str) -> type[_Labelled]:
    from torchvision import datasets

    known = [each for each in datasets.__all__ if inspect.isclass(getattr(datasets, each)) and each != "VisionDataset"]
    if name not in known:
        raise DataError.of(
            [unknown_name(f"torchvision:{name}", kind="dataset of torchvision", got=name, choices=known)]
        )
    return getattr(datasets, name)


def _make(name: str, constructor: type[_Labelled], arguments: dict[str, Any], *, download: bool) -> _Labelled:
    try:
        return constructor(**arguments)
    except (OSError, RuntimeError, ValueError, TypeError, ImportError) as error:
        raise DataError(
            f"torchvision:{name}",
            expected=f"its files under {arguments.get('root')}, and arguments that it takes",
            got=f"{type(error).__name__}: {error}",
            next_step="correct data.root"
            if download
            else "correct data.root, or allow the download: data.download=true",
        ) from error


def _images(name: str, made: _Labelled, root: Path, split: dict[str, Any]) -> tuple[Images, tuple[str, ...]]:
    labels = _labels(name, made)
    class_names = _class_names(made, int(labels.max(initial=-1)) + 1)
    source = f"{name}{list(split.values())}" if split else name
    names = [f"{source}[{i}]" for i in range(len(labels))]
    alone = threading.Lock() if name in _RESEEDS_GLOBALLY else None

    def read(i: int) -> PIL.Image.Image:
        try:
            if alone is None:
                return _rgb(made[i][0])
            with alone:
                return _rgb(made[i][0])
        except BROKEN_IMAGE_ERRORS as error:
            raise DataError(
                names[i],
                expected="an image that torchvision can read",
                got=f"{type(error).__name__}: {error}",
                next_step=f"repair or download the dataset again: {root}",
            ) from error

    fingerprint = fingerprint_of(name, str(root.expanduser().resolve()), repr(split), labels, *_content(made, read))
    return Images(labels=labels, read=read, names=names, fingerprint=fingerprint), class_names


def _rgb(image: object) -> PIL.Image.Image:
    if not isinstance(image, PIL.Image.Image):
        raise TypeError(f"expected a Pillow image, got {type(image).__name__}")
    return to_rgb(image)


def _labels(name: str, made: _Labelled) -> NDArray[np.int64]:
    stored = next((value for key in _LABEL_ATTRIBUTES if (value := getattr(made, key, None)) is not None), None)
    values = [made[i][1] for i in range(len(made))] if stored is None else stored
    try:
        labels = np.asarray(values)
    except ValueError:  # ragged: boxes, lists of captions
        labels = np.empty(0, dtype=object)
    if labels.dtype.kind not in "iu" or labels.shape != (len(made),):
        raise DataError(
            f"torchvision:{name}",
            expected="a classification dataset: one whole number an image",
            got=f"labels such as {values[0]!r}" if len(values) else "no labels",
            next_step="choose another dataset",
        )
    return labels.astype(np.int64)


def _class_names(made: _Labelled, n_labels: int) -> tuple[str, ...]:
    given = cast(
        "Sequence[str | Sequence[str]]", getattr(made, "classes", None) or getattr(made, "categories", None) or ()
    )
    names = [name if isinstance(name, str) else ", ".join(name) for name in given] or [str(i) for i in range(n_labels)]
    counts = Counter(name.strip().casefold() for name in names)  # ImageNet has two cranes
    return tuple(f"{name} ({i})" if counts[name.strip().casefold()] > 1 else name for i, name in enumerate(names))


def _content(made: _Labelled, read: Any) -> list[Any]:  # noqa: ANN401
    """Return what changes with the pixels: the array they lie in, or their files' states, or the pixels of a few."""
    data = getattr(made, "data", None)
    if data is not None and not isinstance(data, list):
        return [np.asarray(data)]
    for key in _FILE_ATTRIBUTES:
        entries = cast("list[Any]", list(getattr(made, key, None) or ()))
        paths = [Path(entry[0] if isinstance(entry, tuple) else entry) for entry in entries if entry]
        if paths and len(paths) == len(made) and all(path.is_file() for path in paths):
            states = (path.stat() for path in paths)
            return [f"{path} {state.st_size} {state.st_mtime_ns}" for path, state in zip(paths, states, strict=True)]
    probes = np.unique(np.linspace(0, len(made) - 1, _PROBES).astype(int)) if len(made) else ()
    return [np.asarray(read(int(i))) for i in probes]
