"""Parquet files in the Hugging Face layout: `train*.parquet` and `test*.parquet`, here or in `data/` (extra `hf`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lorastream.data.holdout import hold_out
from lorastream.data.images import Dataset, fingerprint_of
from lorastream.data.sources._table import Column, Rows, choose_columns, class_names_of, images_of
from lorastream.errors import DataError, MissingExtraError

# pyarrow is optional and has no types.
Table = Any
Field = Any


def load(
    *,
    root: Path,
    image_column: str | None = None,
    label_column: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    test_fraction: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Return the images of parquet files; class names are those in the schema, else the label's values, sorted.

    Args:
        root: the folder with the files, or with them in `data/`.
        image_column: where the encoded images are; None to find it by its type.
        label_column: where the labels are; None to find it by its type and name.
        train_split: what the names of the training files begin with.
        test_split: the same for test images.
        test_fraction: part of each class that is held out, where there are no test files.
        seed: of the choice of images held out.

    Raises:
        DataError: files or columns are missing, a file is damaged, or a label has no class.
        MissingExtraError: pyarrow is not installed.
    """
    root = root.expanduser()
    train_files = _files(root, train_split)
    train_table = _read(train_files)
    where = str(train_files[0])
    image, label = choose_columns(
        _columns(train_table), image_column=image_column, label_column=label_column, where=where
    )
    train_rows = _rows(train_table, train_files, image, label)
    class_names = class_names_of(label, train_rows)
    train = images_of(train_rows, label, class_names)
    if test_fraction is not None:
        train, test = hold_out(train, fraction=test_fraction, seed=seed, class_names=class_names)
    else:
        test_files = _files(root, test_split)
        test = images_of(_rows(_read(test_files), test_files, image, label), label, class_names)
    return Dataset(name=root.resolve().name, class_names=class_names, train=train, test=test)


def _files(root: Path, split: str) -> list[Path]:
    for folder in (root, root / "data"):
        if files := sorted(folder.glob(f"{split}*.parquet")):
            return files
    raise DataError(
        f"parquet files in {root}",
        expected=f"{split}*.parquet, here or in data/",
        got="no such folder" if not root.is_dir() else "none of that name",
        next_step="correct data.root, name the split, or set data.test_fraction where there are no test files",
    )


def _read(files: list[Path]) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError.missing("data source parquet", package="pyarrow", extra="hf") from error
    tables: list[Table] = []
    for file in files:
        try:
            tables.append(pq.read_table(file))
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                str(file),
                expected="a whole parquet file",
                got=f"{type(error).__name__}: {error}",
                next_step="fetch the file again",
            ) from error
    return pa.concat_tables(tables)


def _columns(table: Table) -> list[Column]:
    metadata = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    features: dict[str, Any] = metadata.get("info", {}).get("features", {})
    return [_column(field, features.get(field.name) or {}) for field in table.schema]


def _column(field: Field, feature: dict[str, Any]) -> Column:
    import pyarrow as pa

    kind = field.type
    if feature.get("_type") == "ClassLabel" and pa.types.is_integer(kind):
        return Column(name=field.name, kind="label", class_names=tuple(feature.get("names") or ()))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return Column(name=field.name, kind="image")
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return Column(name=field.name, kind="image")
    if pa.types.is_integer(kind):
        return Column(name=field.name, kind="whole number")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Column(name=field.name, kind="text")
    return Column(name=field.name, kind="other")


def _rows(table: Table, files: list[Path], image: Column, label: Column) -> Rows:
    where = str(files[0]) if len(files) == 1 else f"{files[0].parent}/{files[0].name} and {len(files) - 1} more"
    missing = {image.name, label.name} - set(table.column_names)
    if missing:
        raise DataError(
            where,
            expected=f"the columns of the training files, {image.name} and {label.name}",
            got=", ".join(table.column_names),
            next_step="use files of the same schema",
        )
    cells: Any = table.column(image.name)
    states = [(file.resolve(), file.stat()) for file in files]
    return Rows(
        where=where,
        values=table.column(label.name).to_pylist(),
        cell=lambda row: cells[row].as_py(),
        fingerprint=fingerprint_of(
            image.name, label.name, *(f"{file} {state.st_size} {state.st_mtime_ns}" for file, state in states)
        ),
    )
