"""`lorastream data`: what a user sees of a benchmark that is prepared, verified, listed and learnt."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from rich.cells import cell_len

from lorastream.data.benchmarks import catalogue

WATCHED = ("torch", "timm", "accelerate", "torchvision", "sklearn", "numpy", "PIL", "lorastream.data")


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay a small ImageNet-R of four classes on the desk, and let it be the published one."""
    path = Path("downloads/imagenet-r.tar")
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for c in range(4):
            for i in range(5):
                content = io.BytesIO()
                PIL.Image.new("RGB", (20, 18), (40 * c, 9 * i, 0)).save(content, "PNG")
                member = tarfile.TarInfo(f"imagenet-r/n{c}/{i}.png")
                member.size = len(content.getvalue())
                tar.addfile(member, io.BytesIO(content.getvalue()))
    known = catalogue.find("imagenet_r")
    (remote,) = known.archives
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    here = replace(known, n_classes=4, n_images=20, archives=(replace(remote, md5=md5),))
    monkeypatch.setitem(catalogue.BENCHMARKS, "imagenet_r", here)
    return path


def fits(text: str) -> bool:
    return all(cell_len(line) <= 80 and line == line.rstrip() for line in text.splitlines())


def test_prepare_tells_terms_split_and_what_to_do_next(archive: Path, lorastream: Callable[..., Any]) -> None:
    told = lorastream("data", "prepare", "imagenet_r", "--root", "my data", "--archive", archive)
    assert told.code == 0, told.err
    sha256 = json.loads(Path("my data/lorastream/imagenet_r/seed0.json").read_text())["sha256"]
    assert told.out.splitlines() == [
        "imagenet_r, split seed0: 4 classes, 16 images to learn from and 4 to test on",
        "(20% of each class held out, seed 0)",
        "SHA-256 of imagenet-r.tar:",
        hashlib.sha256(archive.read_bytes()).hexdigest(),
        "SHA-256 of the split:",
        sha256,
        "Written to my data/lorastream/imagenet_r/seed0.json",
        "Use it: data.source=benchmark:imagenet_r 'data.root=my data' data.split=seed0",
        "Terms of ImageNet-R: gathered from the web for research; the pictures remain",
        "their makers'. See https://github.com/hendrycks/imagenet-r",
    ]
    stages = [line.partition(" (")[0] for line in told.err.splitlines()]
    assert stages == ["checking imagenet-r.tar", "unpacking imagenet-r.tar", "looking for images"]
    assert archive.exists()


def test_made_again_it_says_so(archive: Path, lorastream: Callable[..., Any]) -> None:
    for _ in range(2):
        told = lorastream("data", "prepare", "imagenet_r", "--root", "d", "--archive", archive, "--quiet")
    assert (told.code, told.err) == (0, "")
    assert "Already there, the very same: d/lorastream/imagenet_r/seed0.json" in told.out
    assert "Note: downloads/imagenet-r.tar was not unpacked: its folder is there already." in told.out


def test_prepare_speaks_json_alone(archive: Path, lorastream: Callable[..., Any]) -> None:
    told = lorastream("data", "prepare", "imagenet_r", "--root", "d", "--archive", archive, "--seed", 3, "--json")
    document = json.loads(told.out)
    assert (document["split"], document["train_images"], document["test_images"]) == ("seed3", 16, 4)
    assert document["archives"][0]["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()


def test_verify_shows_a_table(archive: Path, lorastream: Callable[..., Any]) -> None:
    lorastream("data", "prepare", "imagenet_r", "--root", "d", "--archive", archive)
    told = lorastream("data", "verify", "imagenet_r", "--root", "d", "--decode", "--quiet")
    assert (told.code, told.err) == (0, "")
    assert fits(told.out)
    rows = [re.split(r" {2,}", line.strip()) for line in told.out.splitlines()]
    assert ["classes with both roles", "4", "4"] in rows
    assert ["training images", "–", "16"] in rows  # noqa: RUF001
    assert ["images that decode", "20", "20"] in rows
    assert told.out.splitlines()[-1] == "All is as it should be."


def test_what_is_amiss_is_shown_and_ends_with_2(archive: Path, lorastream: Callable[..., Any]) -> None:
    lorastream("data", "prepare", "imagenet_r", "--root", "d", "--archive", archive)
    Path("d/imagenet-r/n2/1.png").unlink()
    told = lorastream("data", "verify", "imagenet_r", "--root", "d")
    assert told.code == 2
    assert "amiss" in told.out
    assert "All is" not in told.out
    assert told.err.partition("One mistake\n")[2].splitlines() == [
        "imagenet_r, split seed0: images there",
        "  expected  all 20",
        "  got       1 not: n2/1.png",
        "  next      it looked in d/imagenet-r: unpack the archives again, or correct",
        "            --root",
    ]
    document = json.loads(lorastream("data", "verify", "imagenet_r", "--root", "d", "--json").out)
    assert document["whole"] is False
    assert [check["what"] for check in document["checks"] if not check["holds"]] == ["images there"]


@pytest.mark.parametrize(
    ("typed", "got"),
    [
        ("prepare imagenet --root d", "'imagenet'"),
        ("prepare imagenet_r", "missing option '--root'"),
        ("prepare imagenet_r --root d --split pilot", "'pilot'"),
        ("prepare imagenet_r --root d --train-list x", "only --train-list"),
        ("prepare imagenet_r --root d --archive nowhere.tar", "no such file"),
        ("prepare imagenet_r --root downloads/imagenet-r.tar", "is a file"),
        ("prepare imagenet_r --root d --archive torn.tar", "MD5"),
        ("prepare imagenet_r --root d --seed -1", "--seed"),
        ("verify imagenet_r --root d", "no such root"),
        ("verify imagenet_r --root .", "nothing of imagenet_r is prepared"),
    ],
)
def test_a_mistake_is_told_on_one_screen_and_changes_nothing(
    typed: str, got: str, archive: Path, lorastream: Callable[..., Any], files: Callable[[], dict[str, Any]]
) -> None:
    Path("torn.tar").write_bytes(archive.read_bytes()[:2000])
    before = files()
    told = lorastream("data", *typed.split())
    assert told.code == 2
    assert got in " ".join(told.err.split())
    assert fits(told.err)
    assert len(told.err.splitlines()) <= 24
    assert "Traceback" not in told.err
    assert files() == before
    assert not Path("d").exists()


def test_a_recipe_learns_it(archive: Path, lorastream: Callable[..., Any], tiny: tuple[str, ...]) -> None:
    lorastream("data", "prepare", "imagenet_r", "--root", "d", "--archive", archive)
    typed = ("digits", "data.source=benchmark:imagenet_r", "data.root=d", "stream.tasks=2", "training.epochs=1")
    told = lorastream("run", *typed, "--methods", "prototypes", "--out", "run")
    assert told.code == 0, told.err
    assert "ImageNet-R, split seed0" in " ".join(told.out.split())
    document = json.loads(Path("run/record.json").read_text())
    assert [len(task) for task in document["tasks"]] == [2, 2]
    assert tiny


def test_a_recipe_without_its_data_names_the_command(lorastream: Callable[..., Any], tiny: tuple[str, ...]) -> None:
    told = lorastream("run", "digits", "data.source=benchmark:imagenet_r", "data.root=d", "stream.tasks=2")
    assert (told.code, bool(tiny)) == (2, True)
    assert told.err.splitlines()[-1] == "  next      lorastream data prepare imagenet_r --root d"


def test_list(lorastream: Callable[..., Any]) -> None:
    told = lorastream("data", "list")
    assert (told.code, told.err) == (0, "")
    assert fits(told.out)
    assert [line.split()[0] for line in told.out.splitlines() if not line.startswith("   ")] == catalogue.names()
    document = json.loads(lorastream("data", "list", "--json").out)
    assert document["cifar100"]["archives"][0]["md5"] == "03b5dce01913d631647c71ecec9e9cb8"


@pytest.mark.parametrize("verb", ["", "prepare", "verify", "list"])
def test_help_fits_and_loads_nothing(verb: str, lorastream: Callable[..., Any]) -> None:
    told = lorastream("data", *verb.split(), "--help")
    assert (told.code, told.err) == (0, "")
    assert fits(told.out)
    assert len(told.out.splitlines()) <= 24
    code = f"import sys, lorastream.cli.main\nprint([name for name in {WATCHED!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_nothing_typed_shows_the_verbs_and_is_no_success(lorastream: Callable[..., Any]) -> None:
    told = lorastream("data")
    assert (told.code, told.out) == (2, "")
    assert all(f"\n  {verb} " in told.err for verb in ("prepare", "verify", "list"))


def test_an_interrupted_fetch_says_that_it_goes_on(
    lorastream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lorastream.data.benchmarks.prepare.prepare", interrupted)
    told = lorastream("data", "prepare", "cifar100", "--root", "d")
    assert told.code == 130
    assert told.err.splitlines() == ["What was fetched is kept: the same command goes on from there.", "Interrupted."]


def test_on_a_terminal_there_is_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from lorastream.cli.stages import stages

    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("lorastream.cli.screen.console", lambda **_: console)
    with stages(silent=False) as progress:
        for done in (0, 1_000_000_000, 2_000_000_000):
            progress("fetching imagenet-r.tar", done, 2_190_000_000)
        progress("looking for images", 300, 30_000)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", drawn.getvalue()).splitlines()
    assert any("looking for images" in line and "300 of 30,000" in line and "left" in line for line in lines)
    assert all(cell_len(line) <= 80 for line in lines)
