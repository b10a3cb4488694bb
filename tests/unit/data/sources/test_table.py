"""The columns of images and labels are the ones named, else the likeliest, else a question."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lorastream.data.sources._table import Column, Rows, choose_columns, class_names_of, images_of
from lorastream.errors import DataError


def column(name: str, kind: str, class_names: tuple[str, ...] = ()) -> Column:
    return Column(name=name, kind=kind, class_names=class_names)  # type: ignore[arg-type]


def rows(values: Sequence[object], cell: object = b"") -> Rows:
    return Rows(where="t", values=values, cell=lambda _: cell, fingerprint="f")


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ([column("photo", "image"), column("kind", "text")], ("photo", "kind")),
        ([column("mask", "image"), column("img", "image"), column("label", "whole number")], ("img", "label")),
        ([column("img", "image"), column("id", "whole number"), column("label", "whole number")], ("img", "label")),
        ([column("img", "image"), column("label", "whole number"), column("breed", "label", ("a",))], ("img", "breed")),
        (
            [column("img", "image"), column("fine_label", "label", ("a",)), column("coarse_label", "label", ("b",))],
            ("img", "fine_label"),
        ),
    ],
)
def test_the_likeliest_columns_are_chosen(columns: list[Column], chosen: tuple[str, str]) -> None:
    found = choose_columns(columns, image_column=None, label_column=None, where="t")
    assert tuple(each.name for each in found) == chosen


def test_the_columns_named_are_taken() -> None:
    columns = [column("img", "image"), column("mask", "image"), column("label", "text"), column("coarse", "text")]
    found = choose_columns(columns, image_column="mask", label_column="coarse", where="t")
    assert tuple(each.name for each in found) == ("mask", "coarse")


def test_a_column_named_wrongly_is_answered_with_the_nearest() -> None:
    columns = [column("img", "image"), column("fine_label", "label", ("a",))]
    with pytest.raises(DataError, match=r"label_column(.|\n)*'fine_label'"):
        choose_columns(columns, image_column=None, label_column="fin_label", where="t")


@pytest.mark.parametrize(
    "columns",
    [
        [column("x", "image"), column("y", "image"), column("label", "text")],
        [column("x", "image"), column("a", "text"), column("b", "text")],
        [column("x", "other"), column("label", "text")],
    ],
)
def test_where_none_or_several_fit_the_columns_are_listed(columns: list[Column]) -> None:
    with pytest.raises(DataError, match=r"x \((image|other)\)(.|\n)*_column="):
        choose_columns(columns, image_column=None, label_column=None, where="t")


def test_class_names_are_the_stated_ones_or_the_values_sorted() -> None:
    assert class_names_of(column("l", "label", ("z", "a")), rows([0, 1])) == ("z", "a")
    assert class_names_of(column("l", "text"), rows(["dog", "cat", "dog"])) == ("cat", "dog")
    assert class_names_of(column("l", "whole number"), rows([10, 9, 10])) == ("9", "10")
    with pytest.raises(DataError, match=r"t\[1\]"):
        class_names_of(column("l", "text"), rows(["dog", None]))


def test_labels_are_positions_in_the_class_names() -> None:
    assert images_of(rows([10, 9]), column("l", "whole number"), ("9", "10")).labels.tolist() == [1, 0]
    assert images_of(rows([1, 0]), column("l", "label", ("z", "a")), ("z", "a")).labels.tolist() == [1, 0]


@pytest.mark.parametrize("value", [-1, 2, None])
def test_a_label_that_is_no_class_is_named(value: int | None) -> None:
    with pytest.raises(DataError, match=rf"t\[1\], column l(.|\n)*{value}"):
        images_of(rows([0, value]), column("l", "label", ("z", "a")), ("z", "a"))


@pytest.mark.parametrize("cell", [None, {"bytes": None, "path": None}, 7, {"bytes": b"no image"}])
def test_a_cell_without_an_image_is_named(cell: object) -> None:
    images = images_of(rows([0], cell), column("l", "label", ("z",)), ("z",))
    with pytest.raises(DataError, match=r"t\[0\]"):
        images.read(0)
