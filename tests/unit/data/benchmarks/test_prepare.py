"""A benchmark is fetched, unpacked and split; no file of the user moves; after a failure all is as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorastream.data.benchmarks import manifest as manifests
from lorastream.data.benchmarks.catalogue import PublishedLists, RemoteFile
from lorastream.data.benchmarks.prepare import prepare
from lorastream.data.benchmarks.request import Request
from lorastream.errors import DataError, RunError

Snapshot = Callable[[Path], dict[str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_from_an_archive_that_was_downloaded(root: Path, tmp_path: Path, kit: Any, snapshot: Snapshot) -> None:
    benchmark, archive = kit.rendition(tmp_path / "downloads")
    before = snapshot(tmp_path / "downloads")
    made = prepare(benchmark, root, archives=[archive])
    assert snapshot(tmp_path / "downloads") == before
    assert (made.path, made.is_new, made.notes) == (root / "lorastream/imagenet_r/seed0.json", True, ())
    assert sorted(p.name for p in root.iterdir()) == ["imagenet-r", "lorastream"]
    manifest = manifests.read_intact(made.path)
    assert [(c.name, len(c.train), len(c.test)) for c in manifest.classes] == [(f"n{i:02}", 4, 1) for i in range(3)]
    assert (manifest.folder, manifest.kind) == ("imagenet-r", "drawn")
    assert manifest.rule == "20% of each class held out, seed 0"
    (seen,) = manifest.archives
    assert (seen.name, seen.sha256) == ("imagenet-r.tar", hashlib.sha256(archive.read_bytes()).hexdigest())


def test_fetched_in_pieces(root: Path, tmp_path: Path, kit: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorastream.data.benchmarks.download._PAUSES", (0.0, 0.0))
    benchmark, archive = kit.birds(tmp_path)
    server.content = archive.read_bytes()
    server.breaks = [100, 100]
    (remote,) = benchmark.archives
    made = prepare(replace(benchmark, archives=(replace(remote, address=server.address),)), root)
    assert made.manifest.counts == (4, 2)
    assert sorted(p.name for p in root.iterdir()) == ["CUB_200_2011", "CUB_200_2011.tgz", "lorastream"]
    assert made.manifest.folder == "CUB_200_2011/images"
    assert server.asked == [None, "bytes=100-", "bytes=200-"]


def test_cifar_without_opening_a_pickle(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, archive = kit.cifar(tmp_path)
    made = prepare(benchmark, root, archives=[archive])
    assert (made.manifest.form, made.manifest.counts) == ("cifar_records", (6, 3))
    assert made.manifest.classes[0].test == ("test.bin[2]",)


def test_domains_are_pooled_by_their_makers_lists(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, archives = kit.domains(root)
    elsewhere = [archive.rename(tmp_path / archive.name) for archive in archives]
    made = prepare(benchmark, root, archives=elsewhere)
    assert [c.name for c in made.manifest.classes] == ["bee", "ant"], "in the order of labels"
    assert made.manifest.classes[1].test == ("clipart/ant/clipart_2.jpg", "real/ant/real_2.jpg")
    assert (made.manifest.counts, made.manifest.folder) == ((8, 4), "domainnet")
    assert [archive.name for archive in made.manifest.archives] == ["clipart.zip", "real.zip"]


def test_several_splits_side_by_side(root: Path, tmp_path: Path, kit: Any, snapshot: Snapshot) -> None:
    benchmark, archive = kit.rendition(tmp_path)
    first = prepare(benchmark, root, archives=[archive])
    images = snapshot(root / "imagenet-r")
    second = prepare(benchmark, root, Request(split="seed7"))
    half = prepare(benchmark, root, Request(test_fraction=0.4))
    assert len({made.manifest.sha256 for made in (first, second, half)}) == 3
    assert manifests.splits_there(root, "imagenet_r") == ["seed0", "seed0-test0.4", "seed7"]
    assert half.manifest.counts == (9, 6)
    assert snapshot(root / "imagenet-r") == images


def test_made_again_it_is_the_very_same(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, archive = kit.rendition(tmp_path)
    first = prepare(benchmark, root, archives=[archive])
    again = prepare(benchmark, root, archives=[archive])
    assert (again.is_new, again.manifest) == (False, first.manifest)
    assert again.notes == (f"{archive} was not unpacked: its folder is there already",)
    elsewhere = prepare(benchmark, tmp_path / "other", archives=[archive])
    assert elsewhere.manifest.sha256 == first.manifest.sha256


def test_another_split_of_that_name_is_not_replaced(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, archive = kit.rendition(tmp_path)
    first = prepare(benchmark, root, Request(split="mine", seed=1), archives=[archive])
    with pytest.raises(DataError, match="another one: 20% of each class held out, seed 1"):
        prepare(benchmark, root, Request(split="mine", seed=2))
    assert manifests.read_intact(first.path) == first.manifest


def test_folders_that_were_cut_by_others(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, _ = kit.rendition(tmp_path)
    files = {
        f"imagenet-r/{'test' if name[-5] == '4' else 'train'}/{name.removeprefix('imagenet-r/')}": content
        for name, content in kit.rendition_files().items()
        if name.endswith(".jpg")
    }
    archive = kit.write_zip(tmp_path / "pilot.zip", files)
    request = Request(split="pilot", train_folder=Path("imagenet-r/train"), test_folder=Path("imagenet-r/test"))
    made = prepare(benchmark, root, request, archives=[archive])
    assert (made.manifest.kind, made.manifest.counts, made.manifest.folder) == ("folders", (12, 3), "imagenet-r")
    assert made.manifest.classes[0].test == ("test/n00/art_4.jpg",)
    assert [seen.name for seen in made.manifest.archives] == ["pilot.zip"]


def test_folders_behind_a_link(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, _ = kit.rendition(tmp_path)
    for c in range(3):
        images = {f"{role}/n{c:02}/{role}.jpg": kit.picture(c) for role in ("train", "test")}
        kit.put(tmp_path / "other disk", images)
    root.mkdir()
    (root / "cut").symlink_to(tmp_path / "other disk")
    made = prepare(benchmark, root, Request(train_folder=Path("cut/train"), test_folder=Path("cut/test")))
    assert (made.manifest.folder, made.manifest.counts) == ("cut", (3, 3))
    assert made.notes == ("9 images fewer than ImageNet-R has",)


def test_an_archive_that_does_not_hold_the_folders_is_undone(
    root: Path, tmp_path: Path, kit: Any, snapshot: Snapshot
) -> None:
    benchmark, _ = kit.rendition(tmp_path)
    archive = kit.write_zip(tmp_path / "pilot.zip", {"train/n00/1.jpg": b"x", "note.txt": b""})
    before = snapshot(tmp_path)
    request = Request(train_folder=Path("train"), test_folder=Path("test"))
    with pytest.raises(DataError, match="no such folder"):
        prepare(benchmark, root, request, archives=[archive])
    assert snapshot(tmp_path) == before


def test_lists_of_the_user(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, archive = kit.rendition(tmp_path)
    prepare(benchmark, root, archives=[archive])
    images = [f"imagenet-r/n{c:02}/art_{i}.jpg {c}" for c in range(3) for i in range(4)]
    (tmp_path / "train.txt").write_text("\n".join(images[0::2]))
    (tmp_path / "test.txt").write_text("\n".join(images[1::2]))
    request = Request(train_lists=(tmp_path / "train.txt",), test_lists=(tmp_path / "test.txt",))
    made = prepare(benchmark, root, request)
    assert (made.manifest.kind, made.manifest.split, made.manifest.counts) == ("lists", "lists", (6, 6))
    assert made.notes == ("3 images fewer than ImageNet-R has",)


def test_lists_that_others_published_are_fetched(root: Path, tmp_path: Path, kit: Any, server: Any) -> None:
    benchmark, archive = kit.rendition(tmp_path)
    images = [(f"data/imagenet-r/n{c:02}/art_{i}.jpg", c) for c in range(3) for i in range(5)]
    remotes = []
    for role, rows in (("train", images[0::2]), ("test", images[1::2])):
        path = tmp_path / f"{role}.yaml"
        path.write_text(json.dumps({"data": [r[0] for r in rows], "targets": [r[1] for r in rows]}))  # JSON is YAML
        remotes.append(RemoteFile(path=f"lorastream/imagenet_r/{role}.yaml", address=server.address))
    server.content = (tmp_path / "test.yaml").read_bytes()
    kit.put(root, {"lorastream/imagenet_r/train.yaml": (tmp_path / "train.yaml").read_bytes()})
    lists = PublishedLists(train=(remotes[0],), test=(remotes[1],), source="someone", counts=(8, 7))
    made = prepare(replace(benchmark, lists={"theirs": lists}), root, Request(split="theirs"), archives=[archive])
    assert (made.manifest.kind, made.manifest.counts, made.manifest.rule) == ("published", (8, 7), "someone")
    assert len(server.asked) == 1


def test_what_is_unpacked_already_is_used(root: Path, tmp_path: Path, kit: Any, snapshot: Snapshot) -> None:
    benchmark, _ = kit.rendition(tmp_path)
    kit.put(root, kit.rendition_files())
    before = snapshot(root / "imagenet-r")
    assert prepare(benchmark, root).manifest.archives == ()
    assert snapshot(root / "imagenet-r") == before


@pytest.mark.parametrize(
    ("harm", "got"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "MD5 "),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "MD5 "),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "a folder"),
    ],
    ids=["cut", "changed", "gone", "folder"],
)
def test_a_bad_archive_changes_nothing(
    harm: Callable[[Path], object], got: str, root: Path, tmp_path: Path, kit: Any, snapshot: Snapshot
) -> None:
    benchmark, archive = kit.rendition(tmp_path)
    harm(archive)
    before = snapshot(tmp_path)
    with pytest.raises(DataError) as raised:
        prepare(benchmark, root, archives=[archive])
    assert got in raised.value.faults[0].got
    assert snapshot(tmp_path) == before


def test_a_folder_that_lacks_images_is_told(root: Path, tmp_path: Path, kit: Any, snapshot: Snapshot) -> None:
    benchmark, _ = kit.rendition(tmp_path)
    kit.put(root, kit.rendition_files())
    (root / "imagenet-r/n01/art_3.jpg").unlink()
    before = snapshot(tmp_path)
    with pytest.raises(DataError) as raised:
        prepare(benchmark, root)
    assert [(fault.expected, fault.got) for fault in raised.value.faults] == [("15", "14")]
    assert snapshot(tmp_path) == before


def test_a_bird_that_is_missing_is_named(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, _ = kit.birds(tmp_path)
    kit.put(root, kit.bird_files())
    (root / "CUB_200_2011/images/002.Bird_2/Bird_1.jpg").unlink()
    with pytest.raises(DataError, match=r"1 not: 002\.Bird_2/Bird_1\.jpg"):
        prepare(benchmark, root)
    assert not (root / "lorastream").exists()


def test_a_fetch_that_fails_keeps_what_came(
    root: Path, tmp_path: Path, kit: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorastream.data.benchmarks.download._PAUSES", ())
    benchmark, archive = kit.rendition(tmp_path)
    server.content, server.breaks = archive.read_bytes(), [3000]
    (remote,) = benchmark.archives
    benchmark = replace(benchmark, archives=(replace(remote, address=server.address),))
    with pytest.raises(RunError, match="run the same again"):
        prepare(benchmark, root)
    assert sorted(p.name for p in root.iterdir()) == ["imagenet-r.tar.part", "imagenet-r.tar.part.origin"]
    assert prepare(benchmark, root).is_new
    assert server.asked[-1] == "bytes=3000-"


def test_an_archive_of_another_benchmark_is_told(root: Path, tmp_path: Path, kit: Any, snapshot: Snapshot) -> None:
    benchmark, archives = kit.domains(tmp_path / "x")
    stray = archives[0].rename(tmp_path / "photos.zip")
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match=r"clipart\.zip or real\.zip"):
        prepare(benchmark, root, archives=[stray])
    assert snapshot(tmp_path) == before


def test_a_root_that_is_a_file_is_told(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, archive = kit.rendition(tmp_path)
    root.write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        prepare(benchmark, root, archives=[archive])
    assert root.read_text() == "mine"


def test_a_folder_outside_of_the_root_is_told(root: Path, tmp_path: Path, kit: Any) -> None:
    benchmark, _ = kit.rendition(tmp_path)
    for name in ("train", "test"):
        kit.put(tmp_path / "elsewhere", {f"{name}/n00/{name}.jpg": b"x"})
    request = Request(train_folder=tmp_path / "elsewhere/train", test_folder=tmp_path / "elsewhere/test")
    with pytest.raises(DataError, match="one outside of it"):
        prepare(benchmark, root, request)
    assert not root.exists()
