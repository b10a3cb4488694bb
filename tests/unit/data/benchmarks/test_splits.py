"""A split that is drawn has exactly its share, is stratified, and follows from the seed and the images' names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.data.benchmarks import splits
from lorastream.data.benchmarks.manifest import SplitClass
from lorastream.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("bee", 7), ("ant", 8), ("fly", 10)):
        (tmp_path / "all" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "all" / name / f"{i}.JPEG").touch()
    (tmp_path / "all/README.txt").touch()
    (tmp_path / "all/.hidden").mkdir()
    (tmp_path / "all/ant/notes.txt").touch()
    (tmp_path / "all/ant/._0.JPEG").touch()
    return tmp_path / "all"


def test_a_drawn_split_by_hand(folder: Path) -> None:
    """Shares of 8, 7 and 10: 1.6, 1.4, 2.0; five in all, so the largest remainder, that of the ants, rounds up."""
    drawn = splits.drawn(folder, seed=0, test_fraction=0.2)
    assert [(c.name, len(c.train), len(c.test)) for c in drawn] == [("ant", 6, 2), ("bee", 6, 1), ("fly", 8, 2)]
    assert all(sorted(c.train) == list(c.train) for c in drawn)
    assert {*drawn[0].train, *drawn[0].test} == {f"ant/{i}.JPEG" for i in range(8)}
    assert splits.drawn(folder, seed=0, test_fraction=0.2) == drawn
    assert splits.drawn(folder, seed=1, test_fraction=0.2) != drawn


def test_the_draw_is_pinned(folder: Path) -> None:
    """Another draw would make other splits of the same name: numbers would no longer compare."""
    drawn = splits.drawn(folder, seed=0, test_fraction=0.2)
    assert [c.test for c in drawn] == [
        ("ant/3.JPEG", "ant/5.JPEG"),
        ("bee/0.JPEG",),
        ("fly/3.JPEG", "fly/7.JPEG"),
    ]


def test_an_image_that_is_added_moves_few_others(folder: Path) -> None:
    before = {image for c in splits.drawn(folder, seed=3, test_fraction=0.5) for image in c.test}
    (folder / "fly/new.JPEG").touch()
    after = {image for c in splits.drawn(folder, seed=3, test_fraction=0.5) for image in c.test}
    assert len(before ^ after) <= 2


@given(
    sizes=st.lists(st.integers(2, 60), min_size=1, max_size=12),
    fraction=st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5, 0.75]),
)
def test_shares_of_classes(sizes: list[int], fraction: float) -> None:
    counts = splits._test_counts(sizes, fraction)
    assert all(1 <= count <= size - 1 for count, size in zip(counts, sizes, strict=True))
    assert all(abs(count - size * fraction) <= 1 for count, size in zip(counts, sizes, strict=True))
    if all(size * fraction >= 1 and size * (1 - fraction) >= 1 for size in sizes):
        assert sum(counts) == round(sum(sizes) * fraction)


def test_imagenet_r_gives_its_published_counts() -> None:
    """Whatever the sizes of 200 classes are, 6,000 of 30,000 are held out."""
    sizes = [*[101] * 67, *[148] * 67, *[201] * 66]
    sizes[0] += 30_000 - sum(sizes)
    assert sum(sizes) == 30_000
    assert sum(splits._test_counts(sizes, 0.2)) == 6_000


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_told(fraction: float, folder: Path) -> None:
    with pytest.raises(DataError, match="--test-fraction"):
        splits.drawn(folder, seed=0, test_fraction=fraction)


def test_a_lone_image_is_told(folder: Path) -> None:
    (folder / "moth").mkdir()
    (folder / "moth/1.png").touch()
    with pytest.raises(DataError, match="at least 2 images"):
        splits.drawn(folder, seed=0, test_fraction=0.2)


def test_a_folder_without_folders_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one folder a class"):
        splits.class_images(tmp_path)


def test_two_folders(tmp_path: Path) -> None:
    for name in ("train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    base, classes = splits.two_folders(tmp_path / "train", tmp_path / "val")
    assert base == tmp_path
    assert classes[1] == SplitClass(name="b", train=("train/b/1.jpg",), test=("val/b/2.jpg",))
    (tmp_path / "val/c").mkdir()
    with pytest.raises(DataError, match="only in val/: c"):
        splits.two_folders(tmp_path / "train", tmp_path / "val")


def test_the_birds_own_split(tmp_path: Path, kit: Any) -> None:
    kit.put(tmp_path, kit.bird_files())
    first, second = splits.cub(tmp_path / "CUB_200_2011/images")
    assert first == SplitClass(
        name="001.Bird_1",
        train=("001.Bird_1/Bird_1.jpg", "001.Bird_1/Bird_2.jpg"),
        test=("001.Bird_1/Bird_3.jpg",),
    )
    assert second.name == "002.Bird_2"


@pytest.mark.parametrize(
    ("harm", "got"),
    [
        (lambda folder: (folder / "images.txt").unlink(), "no such file"),
        (lambda folder: (folder / "train_test_split.txt").write_text("1 1\n2 0\n"), "2 lines for 6 images"),
        (lambda folder: (folder / "train_test_split.txt").write_text("1 7\n"), "1 lines for 6 images"),
    ],
)
def test_birds_without_their_lists_are_told(harm: Callable[[Path], object], got: str, tmp_path: Path, kit: Any) -> None:
    kit.put(tmp_path, kit.bird_files())
    harm(tmp_path / "CUB_200_2011")
    with pytest.raises(DataError) as raised:
        splits.cub(tmp_path / "CUB_200_2011/images")
    assert raised.value.faults[0].got == got


def test_cifars_own_split(tmp_path: Path, kit: Any) -> None:
    kit.put(tmp_path, kit.cifar_files())
    assert splits.cifar(tmp_path / "cifar-100-binary") == (
        SplitClass(name="apple", train=("train.bin[1]", "train.bin[4]"), test=("test.bin[2]",)),
        SplitClass(name="aquarium_fish", train=("train.bin[2]", "train.bin[3]"), test=("test.bin[0]",)),
        SplitClass(name="baby", train=("train.bin[0]", "train.bin[5]"), test=("test.bin[1]",)),
    )


def test_a_label_without_a_name_is_told(tmp_path: Path, kit: Any) -> None:
    kit.put(tmp_path, {**kit.cifar_files(), "cifar-100-binary/fine_label_names.txt": b"apple\npear\n"})
    with pytest.raises(DataError, match="labels below 2"):
        splits.cifar(tmp_path / "cifar-100-binary")
