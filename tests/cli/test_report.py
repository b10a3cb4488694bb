"""`report` and `validate` read what is there, show all of it that can be read, and name all that cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.recipes.catalogue import names

Command = Callable[..., Any]


@pytest.fixture
def runs(lorastream: Command, tiny: tuple[str, ...]) -> str:
    """Two finished runs."""
    assert lorastream("run", *tiny, "--methods", "prototypes,sd_lora", "--out", "runs").code == 0
    return "runs"


def test_report_shows_what_run_showed(lorastream: Command, tiny: tuple[str, ...]) -> None:
    shown = lorastream("run", *tiny, "--seeds", 2, "--out", "runs").out
    told = lorastream("report")
    assert told.code == 0
    assert told.out == shown[: shown.index("Saved in")]
    assert lorastream("report", "runs", "./runs", "runs/sd_lora/0/record.json").out == told.out, "each run once"


def test_report_speaks_json_and_markdown(lorastream: Command, runs: str) -> None:
    entries = json.loads(lorastream("report", runs, "--json").out)
    assert [entry["method"] for entry in entries] == ["prototypes", "sd_lora"]
    assert lorastream("report", runs, "--markdown").out.splitlines()[2].startswith("| recipe | method |")


@pytest.mark.parametrize("option", [(), ("--json",), ("--markdown",)])
def test_a_record_that_cannot_be_read_hides_no_other(option: tuple[str, ...], lorastream: Command, runs: str) -> None:
    whole = lorastream("report", runs, *option).out
    shutil.copytree("runs/sd_lora", "runs/torn")
    torn = Path("runs/torn/0/record.json")
    torn.write_text(torn.read_text()[:100])
    told = lorastream("report", runs, "nowhere", *option)
    assert (told.code, told.out) == (2, whole)
    assert told.err.startswith("2 mistakes\nruns/torn/0/record.json\n")
    assert "\nnowhere\n" in told.err


@pytest.mark.parametrize("recipe", names())
def test_every_recipe_of_the_library_is_valid(recipe: str, lorastream: Command) -> None:
    told = lorastream("validate", recipe)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"{recipe} is valid for ")
    for plan in json.loads(lorastream("validate", recipe, "--json").out):
        assert plan["name"] == recipe


def test_an_override_decides_what_is_checked(lorastream: Command) -> None:
    assert lorastream("validate", "digits").out == "digits is valid for sequential_lora, sd_lora, sd_lora_plus.\n"
    assert lorastream("validate", "digits", "method.name=joint").out == "digits is valid for joint.\n"
    assert lorastream("validate", "digits", "method.name=joind").code == 2


def test_report_shows_magnitudes_beside_the_authors(lorastream: Command, runs: str) -> None:
    told = lorastream("report", runs, "--magnitudes")
    assert told.code == 0
    assert "sd_lora, seed 0" in told.out
    assert lorastream("report", runs, "--magnitudes", "--markdown").out.startswith("| magnitude of task | 1 |")
    refused = lorastream("report", f"{runs}/prototypes", "--magnitudes")
    assert refused.code == 2
    assert "got       prototypes" in refused.err
