"""`report --compare` writes one form at a time, and tells apart what cannot be compared from what is no run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.runs import store
from lorastream.runs.record import RunRecord, TaskResult

Command = Callable[..., Any]


def _write(folder: str, method: str, seed: int, accuracy: float, *, status: Any = "finished") -> None:
    record = RunRecord(recipe={"name": "small", "seed": seed, "method": {"name": method}}, seed=seed)
    result = TaskResult(classes=("a",), n_train=4, n_test=4, accuracy=(accuracy,), seconds=1.0, stored_bytes=10)
    Path(folder).mkdir(parents=True)
    store.write(record.with_task(result).ended(status), folder)


@pytest.fixture
def runs() -> str:
    """Two methods, two seeds each."""
    for seed in (0, 1):
        _write(f"runs/a/{seed}", "a", seed, 0.5 + seed / 10)
        _write(f"runs/b/{seed}", "b", seed, 0.25)
    return "runs"


def test_every_form_has_the_same_numbers(lorastream: Command, runs: str) -> None:
    shown = {form: lorastream("report", runs, "--compare", *form) for form in [(), ("--markdown",), ("--latex",)]}
    assert all(told.code == 0 for told in shown.values())
    assert "55.0 ± 7.1" in shown[()].out
    assert "| a | 0, 1 | 55.0 ± 7.1 |" in shown[("--markdown",)].out
    assert r"a & 0, 1 & 55.0 $\pm$ 7.1 &" in shown[("--latex",)].out
    lines = json.loads(lorastream("report", runs, "--compare", "--json").out)["settings"][0]["lines"]
    assert lines[1]["versus"]["difference"] == pytest.approx(-0.3)
    (first, second) = csv.DictReader(io.StringIO(lorastream("report", runs, "--compare", "--csv").out))
    assert (first["method"], float(second["versus_difference"])) == ("a", pytest.approx(-0.3))


def test_the_page_is_written_where_it_is_told_to(lorastream: Command, runs: str) -> None:
    told = lorastream("report", runs, "--compare", "--html", "--out", "here.html")
    assert (told.code, told.out) == (0, "Saved in here.html\n")
    assert "55.0 ± 7.1" in Path("here.html").read_text("utf-8")


def test_against_chooses_the_reference(lorastream: Command, runs: str) -> None:
    assert "minus b" in lorastream("report", runs, "--compare", "--markdown", "--against", "b").out


def test_a_record_that_cannot_be_read_hides_no_other(lorastream: Command, runs: str) -> None:
    whole = lorastream("report", runs, "--compare").out
    Path("runs/a/2").mkdir()
    Path("runs/a/2/record.json").write_text('{"schema": 1, "accuracy')
    told = lorastream("report", runs, "--compare")
    assert (told.code, told.out) == (2, whole)
    assert "runs/a/2/record.json" in told.err


@pytest.mark.parametrize(
    ("arguments", "told_of"),
    [
        (("--csv",), "--compare with --csv"),
        (("--against", "a"), "--compare with --against"),
        (("--same-data",), "--compare with --same-data"),
        (("--compare", "--csv", "--latex"), "--csv --latex"),
        (("--compare", "--against", "aa"), "did you mean 'a'?"),
    ],
)
def test_what_does_not_go_together(
    arguments: tuple[str, ...], told_of: str, lorastream: Command, runs: str, files: Callable[[], Any]
) -> None:
    before = files()
    told = lorastream("report", runs, *arguments)
    assert (told.code, told.out) == (2, "")
    assert told_of in " ".join(told.err.split())
    assert all(word in told.err for word in ("expected", "got", "next"))
    assert files() == before


def test_folders_without_a_run_that_finished(lorastream: Command) -> None:
    Path("empty").mkdir()
    assert lorastream("report", "empty", "--compare").code == 2
    _write("failed", "a", 0, 0.5, status="failed")
    told = lorastream("report", "failed", "--compare")
    assert told.code == 2
    assert "at least one finished run" in told.err
    assert "a, seed 0: failed after 1 of 1 tasks" in told.err


def test_an_unknown_tracker_stops_a_run_before_it_begins(lorastream: Command, files: Callable[[], Any]) -> None:
    told = lorastream("run", "digits", "--track", "tensorbord")
    assert (told.code, told.out) == (2, "")
    assert "did you mean 'tensorboard'?" in told.err
    assert files() == {}


def test_a_run_is_tracked_in_its_own_folder(lorastream: Command, tiny: tuple[str, ...]) -> None:
    assert lorastream("run", *tiny, "--out", "run", "--track", "tensorboard").code == 0
    assert list(Path("run/tracking").glob("events.*"))
