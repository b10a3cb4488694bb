"""Datasets of the Hugging Face hub by name, or a local copy by path: `hf:beans`, `hf:./my_copy` (extra `hf`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorastream.data.holdout import hold_out
from lorastream.data.images import Dataset, fingerprint_of
from lorastream.data.sources._table import Column, Rows, choose_columns, class_names_of, images_of
from lorastream.errors import DataError, MissingExtraError, unknown_name

if TYPE_CHECKING:
    import datasets


def load(
    dataset: str,
    /,
    *,
    configuration: str | None = None,
    revision: str | None = None,
    root: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    test_fraction: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Return an image classification dataset, downloaded by the `datasets` library where it is not on disk yet.

    Args:
        dataset: name on the hub, or a folder that `datasets.load_dataset` can read.
        configuration: which of the dataset's configurations.
        revision: commit or tag on the hub: name one for numbers that others can repeat.
        root: where downloads are kept; None for the library's own cache.
        image_column: None to find it by its type.
        label_column: None to find it by its type and name.
        train_split: name of the split to learn from.
        test_split: name of the split to test on.
        test_fraction: part of each class of the training split that is held out in place of a test split.
        seed: of the choice of images held out.

    Raises:
        DataError: dataset, split or column is not there, or a label has no class.
        MissingExtraError: `datasets` is not installed.
    """
    where = f"hf:{dataset}"
    splits = _load_splits(dataset, configuration, revision, root)
    train_split_data = _split(splits, train_split, where)
    columns = _columns(train_split_data)
    image, label = choose_columns(columns, image_column=image_column, label_column=label_column, where=where)
    train_rows = _rows(train_split_data, image, label, f"{where}[{train_split}]")
    class_names = class_names_of(label, train_rows)
    train = images_of(train_rows, label, class_names)
    if test_fraction is not None:
        train, test = hold_out(train, fraction=test_fraction, seed=seed, class_names=class_names)
    else:
        rows = _rows(_split(splits, test_split, where), image, label, f"{where}[{test_split}]")
        test = images_of(rows, label, class_names)
    return Dataset(name=dataset, class_names=class_names, train=train, test=test)


def _load_splits(name: str, configuration: str | None, revision: str | None, root: Path | None) -> datasets.DatasetDict:
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise MissingExtraError.missing("data source hf", package="datasets", extra="hf") from error
    try:
        loaded = datasets.load_dataset(
            name, configuration, revision=revision, cache_dir=None if root is None else str(root.expanduser())
        )
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise DataError(
            f"hf:{name}",
            expected="a dataset of the Hugging Face hub, or a folder in its layout",
            got=f"{type(error).__name__}: {error}",
            next_step="check name and network; set data.configuration where the dataset has several",
        ) from error
    return loaded


def _split(splits: datasets.DatasetDict, name: str, where: str) -> datasets.Dataset:
    if name in splits:
        return splits[name]
    fault = unknown_name(where, kind="split", got=name, choices=map(str, splits))
    raise DataError.of([fault])


def _columns(split: datasets.Dataset) -> list[Column]:
    import datasets

    columns: list[Column] = []
    for name, feature in split.features.items():
        if isinstance(feature, datasets.Image):
            columns.append(Column(name=name, kind="image"))
        elif isinstance(feature, datasets.ClassLabel):
            columns.append(Column(name=name, kind="label", class_names=tuple(feature.names)))
        elif isinstance(feature, datasets.Value) and "int" in feature.dtype:
            columns.append(Column(name=name, kind="whole number"))
        elif isinstance(feature, datasets.Value) and "string" in feature.dtype:
            columns.append(Column(name=name, kind="text"))
        else:
            columns.append(Column(name=name, kind="other"))
    return columns


def _rows(split: datasets.Dataset, image: Column, label: Column, where: str) -> Rows:
    import datasets

    encoded: Any = split.select_columns([image.name])
    if isinstance(encoded.features[image.name], datasets.Image):
        encoded = encoded.cast_column(image.name, datasets.Image(decode=False))
    values = list(split[label.name])
    files = [Path(entry["filename"]) for entry in split.cache_files]
    states = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return Rows(
        where=where,
        values=values,
        cell=lambda row: encoded[row][image.name],
        fingerprint=fingerprint_of(where, image.name, label.name, repr(values), *states),
    )
