"""Datasets that the `datasets` library loads become a dataset here, and its failures are explained."""

from __future__ import annotations

import sys
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest

from lorastream.data import sources
from lorastream.errors import DataError, MissingExtraError


def split(labels: list[int], start: int = 0) -> datasets.Dataset:
    images = [PIL.Image.new("RGB", (3, 2), (start + i, 0, 0)) for i in range(len(labels))]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "labels": datasets.ClassLabel(names=["rust", "healthy"]),
            "file": datasets.Value("string"),
        }
    )
    return datasets.Dataset.from_dict(
        {"image": images, "labels": labels, "file": ["x"] * len(labels)}, features=features
    )


@pytest.fixture
def beans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the hub."""
    loaded = datasets.DatasetDict({"train": split([0, 1, 1, 0]), "validation": split([1], start=40)})

    def load_dataset(name: str, *_: object, **__: object) -> datasets.DatasetDict:
        if name != "beans":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")
        return loaded

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


@pytest.mark.usefixtures("beans")
def test_images_labels_and_names_come_from_the_features() -> None:
    data = sources.load("hf:beans", test_split="validation")
    assert data.name == "beans"
    assert data.class_names == ("rust", "healthy")
    assert data.train.labels.tolist() == [0, 1, 1, 0]
    assert np.asarray(data.train.read(2))[0, 0].tolist() == [2, 0, 0]
    assert np.asarray(data.test.read(0))[0, 0].tolist() == [40, 0, 0]
    assert data.test.names == ["hf:beans[validation][0]"]
    assert data.train.fingerprint != data.test.fingerprint


@pytest.mark.usefixtures("beans")
def test_a_split_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(DataError, match="train, validation"):
        sources.load("hf:beans")
    assert len(sources.load("hf:beans", test_fraction=0.5).test) == 2


@pytest.mark.usefixtures("beans")
def test_a_name_that_is_not_on_the_hub_is_told() -> None:
    with pytest.raises(DataError, match=r"hf:baens(.|\n)*doesn't exist"):
        sources.load("hf:baens")


def test_a_folder_that_the_library_can_read(tmp_path: Path) -> None:
    for name, value in (("train/cat/1", 1), ("train/dog/1", 2), ("test/cat/2", 3)):
        path = tmp_path / "pets" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (3, 2), (value, 0, 0)).save(path)
    data = sources.load(f"hf:{tmp_path / 'pets'}", root=tmp_path / "cache")
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1]
    assert np.asarray(data.test.read(0))[0, 0].tolist() == [3, 0, 0]


def test_without_the_extra_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"lorastream\[hf\]"):
        sources.load("hf:beans")
