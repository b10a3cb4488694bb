"""A split that is not there is told with the very command that makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorastream.data.benchmarks import catalogue
from lorastream.data.benchmarks.missing import needs_no_options, no_manifest, prepare_command

RENDITION = catalogue.find("imagenet_r")


@pytest.mark.parametrize(
    ("split", "command"),
    [
        ("seed0", "lorastream data prepare imagenet_r --root 'my data'"),
        ("seed3", "lorastream data prepare imagenet_r --root 'my data' --split seed3"),
    ],
)
def test_the_command_can_be_pasted(split: str, command: str) -> None:
    assert prepare_command(RENDITION, Path("my data"), split) == command


@pytest.mark.parametrize(
    ("name", "split", "known"),
    [
        ("imagenet_r", "coda_prompt", True),
        ("imagenet_r", "seed12", True),
        ("imagenet_r", "official", False),
        ("imagenet_r", "seed", False),
        ("cub200", "official", True),
        ("cub200", "seed1", True),
        ("cifar100", "seed0", False),
        ("domainnet", "seed0", False),
    ],
)
def test_names_that_say_it_all(name: str, split: str, known: bool) -> None:
    assert needs_no_options(catalogue.find(name), split) is known


def test_what_there_is_instead_is_told(tmp_path: Path) -> None:
    (fault,) = no_manifest(RENDITION, tmp_path / "x", "seed0").faults
    assert (fault.got, fault.where) == ("no such root", str(tmp_path / "x/lorastream/imagenet_r/seed0.json"))
    (tmp_path / "file").touch()
    assert no_manifest(RENDITION, tmp_path / "file", "seed0").faults[0].got == "the root is a file"
    (tmp_path / "lorastream/imagenet_r").mkdir(parents=True)
    assert "nothing of imagenet_r" in no_manifest(RENDITION, tmp_path, "seed0").faults[0].got
    (tmp_path / "lorastream/imagenet_r/seed1.json").touch()
    assert "splits that are there: seed1" in no_manifest(RENDITION, tmp_path, "seed0").faults[0].got


def test_a_root_named_too_deep_is_told(tmp_path: Path) -> None:
    (tmp_path / "lorastream/imagenet_r").mkdir(parents=True)
    (tmp_path / "lorastream/imagenet_r/seed0.json").touch()
    (tmp_path / "imagenet-r").mkdir()
    (fault,) = no_manifest(RENDITION, tmp_path / "imagenet-r", "seed0").faults
    assert fault.got.endswith(f"but in {tmp_path}")
    assert fault.next_step.startswith(f"the root is {tmp_path};")


def test_a_name_of_ones_own_needs_its_options_again(tmp_path: Path) -> None:
    (fault,) = no_manifest(RENDITION, tmp_path, "mine").faults
    assert fault.next_step.endswith("--split mine --train-list FILE --test-list FILE")
