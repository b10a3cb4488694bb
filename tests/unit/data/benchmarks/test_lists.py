"""Lists of images are a split: one label for each class folder, every image once, wherever their author had them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorastream.data.benchmarks.lists import read_lists
from lorastream.data.benchmarks.manifest import SplitClass
from lorastream.errors import DataError

SPLIT = (
    SplitClass(name="bee", train=("bee/1.jpg", "bee/2.jpg"), test=("bee/3.jpg",)),
    SplitClass(name="ant", train=("ant/1.jpg",), test=("ant/2 b.jpg",)),
)
TRAIN, TEST = "bee/2.jpg 0\nant/1.jpg 1\nbee/1.jpg 0\n\n", "ant/2 b.jpg 1\nbee/3.jpg 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for each in SPLIT:
        for name in (*each.train, *each.test):
            path = tmp_path / "root/insects" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path / "root"


def read(root: Path, train: str, test: str, suffix: str = "txt") -> tuple[str, tuple[SplitClass, ...]]:
    files = [root.parent / f"{role}.{suffix}" for role in ("train", "test")]
    for file, text in zip(files, (train, test), strict=True):
        file.write_text(text)
    return read_lists(files[:1], files[1:], root=root, folder="insects")


def yaml(text: str) -> str:
    """Return the lines of a list as CODA-Prompt writes them: targets may come first or last."""
    entries = [line.rpartition(" ") for line in text.splitlines() if line]
    return "\n".join(["data:", *(f"- {e[0]}" for e in entries), "targets:", *(f"- {e[2]}" for e in entries)])


@pytest.mark.parametrize("before", ["", "insects/", "data/insects/", "/home/author/data/Insects/"])
def test_the_folders_of_the_author_are_left_out(before: str, root: Path) -> None:
    train, test = ("".join(f"{before}{line}\n" for line in text.split("\n") if line) for text in (TRAIN, TEST))
    assert read(root, train, test) == ("insects", SPLIT)


def test_yaml_with_data_and_targets(root: Path) -> None:
    assert read(root, yaml(TRAIN), yaml(TEST), "yaml") == ("insects", SPLIT)


def test_several_lists_of_a_role_go_together(root: Path) -> None:
    a, b, c = root.parent / "a.txt", root.parent / "b.txt", root.parent / "c.txt"
    a.write_text("bee/1.jpg 0\nbee/2.jpg 0\n")
    b.write_text("ant/1.jpg 1")
    c.write_text(TEST)
    assert read_lists([a, b], [c], root=root, folder="insects") == ("insects", SPLIT)


@pytest.mark.parametrize(
    ("train", "test", "got"),
    [
        ("", TEST, "none"),
        ("bee/1.jpg 0\nbee/2.jpg\n", TEST, "'bee/2.jpg'"),
        ("bee/1.jpg zero\n", TEST, "'bee/1.jpg zero'"),
        ("bee/1.jpg -1\n", TEST, "'bee/1.jpg -1'"),
        ("../bee/1.jpg 0\n", TEST, "'../bee/1.jpg' 0"),
        ("1.jpg 0\n", TEST, "'1.jpg' 0"),
        ("wasp/1.jpg 0\n", TEST, "no wasp/1.jpg there"),
        (TRAIN, TRAIN, "twice"),
        (TRAIN, "bee/3.jpg 1\n", "'bee/3.jpg' 1, where 1 is ant and bee is 0"),
        ("bee/1.jpg 0\nbee/2.jpg 1\n", TEST, "'bee/2.jpg' 1, where 1 is bee and bee is 0"),
        ("bee/1.jpg 0\nant/1.jpg 2\n", "bee/3.jpg 0\n", "none of label 1"),
    ],
)
def test_what_is_amiss_is_told(train: str, test: str, got: str, root: Path) -> None:
    with pytest.raises(DataError) as raised:
        read(root, train, test)
    assert got in raised.value.faults[0].got


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "data:\n- bee/1.jpg\ntargets: []\n", "data: [", "data: !!python/object:os.system []\n", "7"]
)
def test_yaml_of_another_form_is_told(text: str, root: Path) -> None:
    with pytest.raises(DataError, match="YAML with `data`"):
        read(root, text, TEST, "yaml")


def test_a_list_that_is_no_text_is_told(root: Path) -> None:
    (root.parent / "x.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UnicodeDecodeError"):
        read_lists([root.parent / "x.txt"], [root.parent / "x.txt"], root=root, folder="insects")
