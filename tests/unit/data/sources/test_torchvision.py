"""Any classification dataset of torchvision is a source; nothing is downloaded unless allowed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from lorastream.data import sources
from lorastream.data.cache import materialise
from lorastream.data.geometry import Shrink
from lorastream.errors import DataError

FAKE = {"size": 40, "image_size": (3, 6, 6), "num_classes": 4}


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write five images in CIFAR-10's own layout."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, labels in (("data_batch_1", [0, 1, 1]), ("test_batch", [1, 0])):
        data = generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["plane", "car"]}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": None})
    return tmp_path


def test_a_dataset_with_its_own_split(cifar: Path) -> None:
    data = sources.load("torchvision:CIFAR10", root=cifar)
    assert data.name == "CIFAR10"
    assert data.class_names == ("plane", "car")
    assert data.train.labels.tolist() == [0, 1, 1]
    assert data.test.labels.tolist() == [1, 0]
    expected = datasets.CIFAR10(cifar, train=False)[1][0]
    assert np.array_equal(np.asarray(data.test.read(1)), np.asarray(expected))
    assert data.train.fingerprint != data.test.fingerprint
    assert data.train.fingerprint == sources.load("torchvision:CIFAR10", root=cifar).train.fingerprint


def test_pixels_that_change_change_the_fingerprint(cifar: Path) -> None:
    before = sources.load("torchvision:CIFAR10", root=cifar).test.fingerprint
    path = cifar / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps({"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [1, 0]}))
    assert sources.load("torchvision:CIFAR10", root=cifar).test.fingerprint != before


def test_a_dataset_without_a_split_and_its_global_random_state(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    data = sources.load("torchvision:FakeData", root=tmp_path, test_fraction=0.25, arguments=FAKE)
    store = materialise(data.train, Shrink(size=8), folder=tmp_path / "c")
    assert torch.equal(state, torch.random.get_rng_state())
    assert len(data.train) + len(data.test) == 40
    assert set(data.class_names) <= {"0", "1", "2", "3"}
    names = [int(name.removeprefix("FakeData[").removesuffix("]")) for name in data.train.names]
    fake = datasets.FakeData(**FAKE)
    for i, position in enumerate(names):
        assert np.array_equal(store.pixels(i), np.asarray(fake[position][0]))


def test_a_dataset_without_a_split_needs_the_part_to_be_stated(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"FakeData(.|\n)*data\.test_fraction=0\.2"):
        sources.load("torchvision:FakeData", root=tmp_path, arguments=FAKE)


def test_files_that_are_not_there_are_not_downloaded_and_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.download=true"):
        sources.load("torchvision:MNIST", root=tmp_path)
    assert list(tmp_path.rglob("*.gz")) == []


def test_an_unknown_dataset_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'CIFAR100'"):
        sources.load("torchvision:CIFAR1000", root=tmp_path)


def test_a_split_that_the_dataset_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tarin"):
        sources.load("torchvision:Flowers102", root=tmp_path, train_split="tarin")


def test_two_classes_of_one_name_are_told_apart(cifar: Path) -> None:
    meta = cifar / "cifar-10-batches-py" / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": ["crane", "crane"]}))
    assert sources.load("torchvision:CIFAR10", root=cifar).class_names == ("crane (0)", "crane (1)")


def test_a_dataset_of_something_else_is_refused(cifar: Path) -> None:
    path = cifar / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps({"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [[1, 2], [0]]}))
    with pytest.raises(DataError, match="classification dataset"):
        sources.load("torchvision:CIFAR10", root=cifar)
