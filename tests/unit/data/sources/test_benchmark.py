"""A prepared benchmark is a data set: its manifest's images, decoded when asked; what is missing names its remedy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lorastream.data import sources
from lorastream.data.benchmarks import manifest as manifests
from lorastream.data.benchmarks.manifest import Manifest, SplitClass
from lorastream.errors import DataError

BIRDS = (
    SplitClass(name="wren", train=("wren/1.png", "wren/2.png"), test=("wren/3.png",)),
    SplitClass(name="crow", train=("crow/1.png",), test=("crow/2.png",)),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for shade, name in enumerate(name for each in BIRDS for name in (*each.train, *each.test)):
        path = tmp_path / "imagenet-r" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (4, 3), (shade, 0, 0)).save(path)
    write(tmp_path, BIRDS)
    return tmp_path


def write(root: Path, classes: tuple[SplitClass, ...], split: str = "seed0", name: str = "imagenet_r") -> Manifest:
    made = Manifest(
        benchmark=name, split=split, kind="drawn", rule="by lot", folder="imagenet-r", classes=classes
    ).signed()
    manifests.write(made, root)
    return made


def test_the_default_split(root: Path) -> None:
    data = sources.load("benchmark:imagenet_r", root=str(root))
    assert (data.name, data.class_names) == ("imagenet_r", ("wren", "crow"))
    assert (list(data.train.names), data.train.labels.tolist()) == (
        ["wren/1.png", "wren/2.png", "crow/1.png"],
        [0, 0, 1],
    )
    assert (list(data.test.names), data.test.labels.tolist()) == (["wren/3.png", "crow/2.png"], [0, 1])
    assert np.asarray(data.test.read(1))[0, 0].tolist() == [4, 0, 0]
    sha256 = manifests.read(root / "lorastream/imagenet_r/seed0.json").sha256
    assert data.notes == (f"ImageNet-R, split seed0 (by lot), SHA-256 {sha256[:16]}",)


def test_the_fingerprint_follows_files_and_split(root: Path) -> None:
    first = sources.load("benchmark:imagenet_r", root=root)
    again = sources.load("benchmark:imagenet_r", root=root, split="none")
    assert first.train.fingerprint == again.train.fingerprint != first.test.fingerprint
    write(root, BIRDS[::-1], "turned")
    turned = sources.load("benchmark:imagenet_r", root=root, split="turned")
    assert turned.class_names == ("crow", "wren")
    assert turned.train.fingerprint != first.train.fingerprint
    PIL.Image.new("RGB", (40, 30)).save(root / "imagenet-r/crow/1.png")
    changed = sources.load("benchmark:imagenet_r", root=root)
    assert changed.train.fingerprint != first.train.fingerprint
    assert changed.test.fingerprint == first.test.fingerprint


def test_records_of_cifar(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    (folder / "train.bin").write_bytes(b"".join(bytes([9, k]) + pixels[k].tobytes() for k in (0, 1)))
    classes = tuple(
        SplitClass(name=name, train=(f"train.bin[{k}]",), test=(f"train.bin[{k}]",)) for k, name in enumerate("ab")
    )
    made = Manifest(
        benchmark="cifar100",
        split="official",
        kind="official",
        rule="r",
        folder=folder.name,
        form="cifar_records",
        classes=classes,
    )
    manifests.write(made.signed(), tmp_path)
    data = sources.load("benchmark:cifar100", root=tmp_path)
    image = np.asarray(data.train.read(1))
    assert image.shape == (32, 32, 3)
    assert image.transpose(2, 0, 1).tobytes() == pixels[1].tobytes()
    assert list(data.train.names) == ["train.bin[0]", "train.bin[1]"]
    (folder / "train.bin").write_bytes(bytes(3074))
    with pytest.raises(DataError, match="1 records"):
        sources.load("benchmark:cifar100", root=tmp_path)


def test_a_split_that_is_not_prepared_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        sources.load("benchmark:imagenet_r", root=tmp_path)
    assert raised.value.faults[0].next_step == f"lorastream data prepare imagenet_r --root {tmp_path}"
    with pytest.raises(DataError, match="--split seed3"):
        sources.load("benchmark:imagenet_r", root=tmp_path, split="seed3")


def test_an_image_that_is_gone_is_named(root: Path) -> None:
    (root / "imagenet-r/crow/2.png").unlink()
    with pytest.raises(DataError, match=r"crow/2\.png(.|\n)*lorastream data verify imagenet_r"):
        sources.load("benchmark:imagenet_r", root=root)


def test_a_split_that_was_changed_is_not_learnt(root: Path) -> None:
    path = root / "lorastream/imagenet_r/seed0.json"
    path.write_text(path.read_text().replace("wren/3.png", "wren/1.png"))
    with pytest.raises(DataError, match="changed since it was made"):
        sources.load("benchmark:imagenet_r", root=root)


def test_a_manifest_of_another_benchmark_is_told(root: Path) -> None:
    manifest = root / "lorastream/imagenet_r/seed0.json"
    other = root / "lorastream/imagenet_a/seed0.json"
    other.parent.mkdir()
    other.write_bytes(manifest.read_bytes())
    with pytest.raises(DataError, match="one of imagenet_r"):
        sources.load("benchmark:imagenet_a", root=root)


def test_an_unknown_benchmark_or_none(root: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'imagenet_r'"):
        sources.load("benchmark:imagenet-r", root=root)
    with pytest.raises(DataError, match="'benchmark:' and what to load"):
        sources.load("benchmark", root=root)


def test_the_same_split_elsewhere_has_the_same_hash(root: Path) -> None:
    """Two people compare the first digits of a note."""
    content = (root / "lorastream/imagenet_r/seed0.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() != manifests.read(root / "lorastream/imagenet_r/seed0.json").sha256
    assert write(root, BIRDS, "copy").sha256 == write(root, BIRDS).sha256
