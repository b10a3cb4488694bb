"""The verbs, their arguments and their options are a promise: scripts that use them keep working."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer
from rich.cells import cell_len

from lorastream.cli.main import app

RECIPE, OVERRIDES = ("argument", "RECIPE", True), ("argument", "KEY=VALUE", False)
MODEL, CLASS = ("argument", "MODEL", True), ("argument", "CLASS", True)
JSON, QUIET, WEIGHTS = ("--json", False), ("--quiet", "-q", False), ("--weights", None)
VERBS = {
    "analyse": {
        *(("argument", "RUN", True), ("--what", None), ("--set", None), JSON),
        *(("--tasks", None), ("--points", None), ("--images", None)),
    },
    "data": set(),
    "doctor": {JSON},
    "evaluate": {MODEL, ("argument", "FOLDER", True), ("--history", False), JSON, QUIET, WEIGHTS},
    "export": {MODEL, ("--to", None), ("--out", None), ("--pictures", None), ("--tolerance", None), JSON, WEIGHTS},
    "forget-class": {MODEL, CLASS, JSON},
    "history": {MODEL, JSON},
    "learn": {
        *(("argument", "FOLDER", True), OVERRIDES, JSON, QUIET, WEIGHTS),
        *(("--into", None), ("--backbone", None), ("--image-size", None), ("--method", None), ("--seed", None)),
        *(("--evaluate-on", None), ("--resume", False)),
        *(("--same-class", "refuse"), ("--held-out", 0.2), ("--broken-share", 0.1), ("--require", None)),
    },
    "list": {("argument", "KIND", False), ("--traits", False), JSON},
    "predict": {
        *(MODEL, ("argument", "PICTURE", True), JSON, QUIET, WEIGHTS),
        *(("--csv", False), ("--top", 3), ("--unknown", False)),
    },
    "push": {
        *(MODEL, ("argument", "REPOSITORY", True), JSON, WEIGHTS),
        *(("--to", "hf"), ("--private", False), ("--pictures", None), ("--tolerance", None)),
    },
    "rename": {MODEL, CLASS, ("argument", "NAME", True), JSON},
    "report": {
        ("argument", "FOLDER", False),
        JSON,
        ("--markdown", False),
        ("--magnitudes", False),
        *(("--html", False), ("--out", None), ("--compare", False), ("--against", None), ("--same-data", False)),
        *(("--csv", False), ("--latex", False)),
    },
    "rollback": {MODEL, ("--to", None), JSON},
    "run": {
        *(RECIPE, OVERRIDES, JSON, QUIET),
        *(("--methods", None), ("--seeds", 1), ("--out", None), ("--resume", False), ("--track", None)),
        ("--thumbnails", False),
    },
    "suite": {
        *(("argument", "SUITE", True), OVERRIDES, JSON, QUIET),
        *(("--jobs", None), ("--ray", False), ("--ray-address", None), ("--dry-run", False)),
    },
    "validate": {RECIPE, OVERRIDES, JSON},
    "watch": {("argument", "RUN", False), ("--once", False), ("--every", 2.0)},
}
"""Of each verb: arguments with whether they are required, options with their defaults."""


def test_the_verbs_take_what_they_always_took() -> None:
    command: Any = typer.main.get_command(app)
    assert {name: {_promise(p) for p in verb.params} for name, verb in command.commands.items()} == VERBS
    assert {option for p in command.params for option in p.opts} == {"--version"}


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS), ("data", "prepare")])
@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("width", [80, 120])
def test_help_fits_and_says_what_a_verb_does(
    verb: tuple[str, ...], option: str, width: int, lorastream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    told = lorastream(*verb, option)
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0].startswith(" ".join(["Usage: lorastream", *verb]))
    assert len(lines) <= 36
    assert all(cell_len(line) <= min(width, 100) and not line.endswith("...") for line in lines[1:])


def test_nothing_typed_shows_the_verbs_and_is_no_success(lorastream: Callable[..., Any]) -> None:
    told = lorastream()
    assert (told.code, told.out) == (2, "")
    assert all(f"\n  {verb} " in told.err for verb in VERBS)


def test_version(lorastream: Callable[..., Any]) -> None:
    from importlib.metadata import version

    assert lorastream("--version").out == f"lorastream {version('lorastream')}\n"


@pytest.mark.parametrize(
    ("typed", "got"),
    [
        ("rum", "run"),
        ("--bogus", "--bogus"),
        ("run", "RECIPE"),
        ("validate", "RECIPE"),
        ("run digits --seeds 0", "--seeds"),
        ("run digits --seeds many", "--seeds"),
        ("run digits --outt x", "--out"),
        ("run digits --out", "--out"),
        ("run digits --epochs 3", "training.epochs=3"),
        ("doctor now", "now"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_mistake_like_any_other(
    typed: str, got: str, lorastream: Callable[..., Any]
) -> None:
    told = lorastream(*typed.split())
    assert (told.code, told.out) == (2, "")
    lines = told.err.splitlines()
    assert lines[:2] == ["One mistake", f"lorastream {typed}"]
    assert lines[2].startswith("  expected  lorastream")
    assert got in "\n".join(lines[2:])
    assert "--help" in lines[-1]


@pytest.mark.parametrize("kind", ["methods", "recipes", "backbones", "sources"])
def test_list_shows_a_kind_alone_or_all(kind: str, lorastream: Callable[..., Any]) -> None:
    alone, every = lorastream("list", kind), lorastream("list")
    assert alone.code == every.code == 0
    assert alone.out in every.out
    assert alone.out.startswith(f"{kind}\n  ")
    assert all(len(line) <= 80 and line == line.rstrip() for line in every.out.splitlines())


def test_list_and_doctor_speak_json(lorastream: Callable[..., Any]) -> None:
    import json

    listed = json.loads(lorastream("list", "--json").out)
    assert set(listed) == {"methods", "recipes", "backbones", "sources"}
    assert "sd_lora" in listed["methods"]
    assert list(json.loads(lorastream("list", "recipes", "--json").out)) == ["recipes"]
    assert set(json.loads(lorastream("doctor", "--json").out)) == {"versions", "device", "disk"}
    told = lorastream("doctor")
    assert all(word in told.out for word in ("torch", "threads", "cache of decoded images", "GB"))


def _promise(parameter: Any) -> tuple[Any, ...]:
    if parameter.param_type_name == "argument":
        return ("argument", parameter.metavar, parameter.required)
    return (*parameter.opts, parameter.default)
