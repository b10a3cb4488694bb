"""A key of a resolved recipe is traced to where it was written."""

from __future__ import annotations

import pytest

from lorastream.recipes.faults import Origin

ORIGIN = Origin(
    file="x.toml",
    moved={"training.lr": "methods.m.training.lr"},
    overridden=frozenset({"stream.sizes", "data"}),
)


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("training.lr", "x.toml: methods.m.training.lr"),
        ("training.epochs", "x.toml: training.epochs"),
        ("stream.sizes[1]", "override stream.sizes[1]"),
        ("stream", "override stream"),
        ("stream.tasks", "x.toml: stream.tasks"),
        ("data.root", "override data.root"),
        ("streams", "x.toml: streams"),
    ],
)
def test_where(key: str, where: str) -> None:
    assert ORIGIN.where(key) == where
