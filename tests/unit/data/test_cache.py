"""The cache gives back the pixels that were decoded, and a file of it is whole or is made again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorastream.data import cache
from lorastream.data.cache import PixelStore, cache_folder, cache_size, clear_cache, materialise
from lorastream.data.geometry import Shrink
from lorastream.data.images import Images
from lorastream.errors import DataError, RunError

AS_IT_IS = Shrink(size=10_000)
MakeImages = Callable[..., Images]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=6), seed=st.integers(0, 999))
def test_what_goes_in_comes_out(
    sizes: list[tuple[int, int]], seed: int, random_images: MakeImages, tmp_path: Path
) -> None:
    images = random_images(sizes, seed=seed)
    for _ in range(2):  # made, then opened
        store = materialise(images, AS_IT_IS, folder=tmp_path)
        assert len(store) == len(sizes)
        for i, (height, width) in enumerate(sizes):
            assert store[i].shape == (3, height, width)
            assert store[i].dtype == torch.uint8
            assert np.array_equal(store[i].permute(1, 2, 0), np.asarray(images.read(i)))


def test_the_fixed_transform_is_applied_and_is_part_of_the_key(random_images: MakeImages, tmp_path: Path) -> None:
    images = random_images([(8, 12), (3, 3)])
    small = materialise(images, Shrink(size=4), folder=tmp_path)
    assert small[0].shape == (3, 4, 6)
    assert materialise(images, AS_IT_IS, folder=tmp_path)[0].shape == (3, 8, 12)
    assert materialise(random_images([(5, 5)] * 2), Shrink(size=4), folder=tmp_path).path != small.path


def test_the_content_is_known_by_its_pixels_alone(random_images: MakeImages, tmp_path: Path) -> None:
    images = random_images([(8, 12), (3, 3)], seed=1)
    moved = replace(images, fingerprint="elsewhere", names=["a", "b"])
    one, other = (materialise(each, AS_IT_IS, folder=tmp_path) for each in (images, moved))
    assert one.path != other.path
    assert one.content == other.content == materialise(images, AS_IT_IS, folder=tmp_path).content
    assert len(one.content) == 32
    turned = replace(
        images, fingerprint="turned", read=lambda i: images.read(i).transpose(PIL.Image.Transpose.ROTATE_90)
    )
    assert materialise(turned, AS_IT_IS, folder=tmp_path).content != one.content
    assert materialise(random_images([(8, 12), (3, 3)], seed=2), AS_IT_IS, folder=tmp_path).content != one.content


def counting(images: Images) -> tuple[Images, list[int]]:
    decoded: list[int] = []

    def read(i: int) -> PIL.Image.Image:
        decoded.append(i)
        return images.read(i)

    return Images(labels=images.labels, read=read, names=images.names, fingerprint=images.fingerprint), decoded


def test_each_image_is_decoded_once_in_its_life(random_images: MakeImages, tmp_path: Path) -> None:
    images, decoded = counting(random_images([(4, 4)] * 600))
    told: list[tuple[int, int]] = []
    materialise(images, AS_IT_IS, folder=tmp_path, progress=lambda done, total: told.append((done, total)))
    materialise(images, AS_IT_IS, folder=tmp_path)
    assert sorted(decoded) == list(range(600))
    assert told == [(i + 1, 600) for i in range(600)]


@pytest.mark.parametrize("harm", ["empty", "short", "half", "longer", "table", "trailer", "foreign"])
def test_a_file_that_is_torn_is_made_again(harm: str, random_images: MakeImages, tmp_path: Path) -> None:
    images, decoded = counting(random_images([(4, 4), (6, 2)]))
    path = materialise(images, AS_IT_IS, folder=tmp_path).path
    whole = path.read_bytes()
    torn = {
        "empty": b"",
        "short": whole[:-1],
        "half": whole[: len(whole) // 2],
        "longer": whole + b"\0",
        "table": whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:],
        "trailer": whole[:-8] + bytes(8),
        "foreign": b"x" * len(whole),
    }[harm]
    path.write_bytes(torn)
    assert PixelStore.open(path) is None
    store = materialise(images, AS_IT_IS, folder=tmp_path)
    assert len(decoded) == 4
    assert path.read_bytes() == whole
    assert np.array_equal(store[1].permute(1, 2, 0), np.asarray(images.read(1)))


def test_a_broken_image_is_named_and_nothing_half_made_stays(random_images: MakeImages, tmp_path: Path) -> None:
    images = random_images([(4, 4)] * 5)

    def read(i: int) -> PIL.Image.Image:
        if i == 3:
            raise DataError("cats/3.png", expected="an image", got="text", next_step="take it out")
        return images.read(i)

    broken = Images(labels=images.labels, read=read, names=images.names, fingerprint="broken")
    with pytest.raises(DataError, match=r"cats/3\.png"):
        materialise(broken, AS_IT_IS, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_half_made(random_images: MakeImages, tmp_path: Path) -> None:
    def interrupt(*_: int) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialise(random_images([(4, 4)] * 5), AS_IT_IS, folder=tmp_path, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_two_that_make_the_same_at_once_both_get_it(random_images: MakeImages, tmp_path: Path) -> None:
    images = random_images([(4, 4)] * 20)
    both_started = threading.Barrier(2)

    def read(i: int) -> PIL.Image.Image:
        if i == 0:
            both_started.wait(timeout=10)
        return images.read(i)

    slow = Images(labels=images.labels, read=read, names=images.names, fingerprint=images.fingerprint)
    with ThreadPoolExecutor(2) as pool:
        stores = list(pool.map(lambda _: materialise(slow, AS_IT_IS, folder=tmp_path), range(2)))
    for store in stores:
        for i in range(20):
            assert np.array_equal(store.pixels(i), np.asarray(images.read(i)))
    assert [file.suffix for file in tmp_path.iterdir()] == [".pixels"]


def test_what_a_killed_process_left_behind_goes_after_a_day(random_images: MakeImages, tmp_path: Path) -> None:
    old, new = tmp_path / "old.unfinished", tmp_path / "new.unfinished"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    materialise(random_images([(2, 2)]), AS_IT_IS, folder=tmp_path)
    assert not old.exists()
    assert new.exists()


def test_pixels_on_disk_cannot_be_written_and_tensors_are_copies(random_images: MakeImages, tmp_path: Path) -> None:
    store = materialise(random_images([(4, 4)]), AS_IT_IS, folder=tmp_path)
    before = store[0].clone()
    store[0].zero_()
    assert torch.equal(store[0], before)
    with pytest.raises(ValueError, match="read-only"):
        store.pixels(0)[0] = 0


def test_the_folder_is_the_one_named_in_the_environment(
    random_images: MakeImages, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == own_cache
    assert materialise(random_images([(2, 2)]), AS_IT_IS).path.parent == own_cache
    monkeypatch.delenv("LORASTREAM_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "lorastream"


def test_size_and_clearing_count_its_own_files_only(random_images: MakeImages, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    store = materialise(random_images([(4, 4)]), AS_IT_IS, folder=tmp_path)
    size = store.path.stat().st_size
    assert cache_size(tmp_path) == size
    assert clear_cache(tmp_path) == size
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    assert store[0].shape == (3, 4, 4)  # what is open stays readable
    assert cache_size(tmp_path / "none") == 0


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_set(
    random_images: MakeImages, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match="LORASTREAM_CACHE"):
        materialise(random_images([(2, 2)]), AS_IT_IS, folder=tmp_path / "file")


def test_a_full_disk_is_a_run_error_and_leaves_nothing(
    random_images: MakeImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        materialise(random_images([(2, 2)]), AS_IT_IS, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
