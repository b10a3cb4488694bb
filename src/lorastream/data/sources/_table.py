"""What the two table-like sources share: which column holds images and which labels, and how rows become images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lorastream.data.images import Images, decode
from lorastream.errors import DataError, unknown_name

IMAGE_NAMES = ("img", "image", "images", "pixel_values", "picture")
LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "category")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        name: as in the table.
        kind: what its values are; `label` where the table names the classes.
        class_names: for a `label`, the class of each number.
    """

    name: str
    kind: Literal["image", "label", "whole number", "text", "other"]
    class_names: tuple[str, ...] = ()


def choose_columns(
    columns: Sequence[Column], *, image_column: str | None, label_column: str | None, where: str
) -> tuple[Column, Column]:
    """Return the columns of images and of labels: the ones named, else the likeliest.

    Raises:
        DataError: a column that is named is not there, or none fits, or several do.
    """
    image = _choose(
        [column for column in columns if column.kind == "image"], columns, image_column, IMAGE_NAMES, "image", where
    )
    named = [column for column in columns if column.kind == "label"]
    plain = [column for column in columns if column.kind in {"whole number", "text"}]
    usual = [column for column in plain if column.name in LABEL_NAMES]
    return image, _choose(named or usual or plain, columns, label_column, LABEL_NAMES, "label", where)


def _choose(
    fitting: list[Column], columns: Sequence[Column], named: str | None, usual: tuple[str, ...], role: str, where: str
) -> Column:
    by_name = {column.name: column for column in columns}
    if named is not None:
        if named not in by_name:
            raise DataError.of([unknown_name(f"{where}, {role}_column", kind="column", got=named, choices=by_name)])
        return by_name[named]
    if len(fitting) != 1:
        fitting = sorted((column for column in fitting if column.name in usual), key=lambda c: usual.index(c.name))[:1]
    if not fitting:
        raise DataError(
            where,
            expected=f"one column of {role}s",
            got="columns " + ", ".join(f"{column.name} ({column.kind})" for column in columns),
            next_step=f"name it: data.{role}_column=...",
        )
    return fitting[0]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one split of a table.

    Attributes:
        where: the split, for messages: `train.parquet`.
        values: the labels, in order.
        cell: gives the image of a row: bytes, or a mapping with `bytes` or `path`.
        fingerprint: changes with the content.
    """

    where: str
    values: Sequence[Any]
    cell: Callable[[int], Any]
    fingerprint: str


def class_names_of(label: Column, rows: Rows) -> tuple[str, ...]:
    """Return the class names that the table states, else the values that occur, sorted.

    Raises:
        DataError: a row has no label.
    """
    if label.class_names:
        return label.class_names
    if None in rows.values:
        raise DataError(
            f"{rows.where}[{list(rows.values).index(None)}], column {label.name}",
            expected="a label",
            got="none",
            next_step="label the row or take it out",
        )
    return tuple(str(value) for value in sorted(set(rows.values)))


def images_of(rows: Rows, label: Column, class_names: tuple[str, ...]) -> Images:
    """Return the rows as images.

    Raises:
        DataError: a row's label is not one of the classes.
    """
    names = [f"{rows.where}[{row}]" for row in range(len(rows.values))]
    position = {name: i for i, name in enumerate(class_names)}
    labels = [value if label.class_names else position.get(str(value)) for value in rows.values]
    for name, value, found in zip(names, rows.values, labels, strict=True):
        if not isinstance(found, int) or not 0 <= found < len(class_names):
            raise DataError(
                f"{name}, column {label.name}",
                expected=f"one of the {len(class_names)} classes of the training images",
                got=repr(value),
                next_step="correct the label or take the row out",
            )
    return Images(
        labels=np.array(labels, dtype=np.int64),
        read=lambda i: decode(_encoded(rows.cell(i), names[i]), name=names[i]),
        names=names,
        fingerprint=rows.fingerprint,
    )


def _encoded(cell: Any, name: str) -> bytes | Path:  # noqa: ANN401 (whatever the table holds)
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or (Path(cell["path"]) if cell.get("path") else None)
    if isinstance(cell, bytes | Path):
        return cell
    raise DataError(
        name,
        expected="an encoded image, or the path of one",
        got="nothing" if cell is None else type(cell).__name__,
        next_step="take the row out, or name another image_column",
    )
