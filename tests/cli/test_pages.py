"""`report --html` writes the page of a run beside its record or where it is told, and refuses what cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.reports.page.live import LivePage
from lorastream.runs import RunRecord, TaskResult, write

Command = Callable[..., Any]
DRAW = LivePage.__call__


@pytest.fixture
def runs() -> str:
    """Two records."""
    for seed in (0, 1):
        folder = Path("runs", str(seed))
        folder.mkdir(parents=True)
        record = RunRecord(recipe={"name": "small", "method": {"name": "sd_lora"}}, seed=seed)
        result = TaskResult(classes=("a", "b"), n_train=4, n_test=10, accuracy=(0.7,))
        write(record.with_task(result).ended("finished"), folder)
    return "runs"


def test_the_page_of_each_run_lies_beside_its_record(lorastream: Command, runs: str) -> None:
    told = lorastream("report", runs, "--html")
    assert (told.code, told.err) == (0, "")
    assert told.out == "Saved in runs/0/report.html\nSaved in runs/1/report.html\n"
    assert "70.0" in Path("runs/1/report.html").read_text()


def test_one_page_goes_where_it_is_told(lorastream: Command, runs: str, files: Callable[[], dict[str, Any]]) -> None:
    before = files()
    assert lorastream("report", f"{runs}/0/record.json", "--html", "--out", "page.html").out == "Saved in page.html\n"
    assert {name for name in files() if name not in before} == {"page.html"}


@pytest.mark.parametrize(
    ("arguments", "got", "step"),
    [
        (("runs", "--html", "--out", "page.html"), "2 runs", "name the folder of one"),
        (("runs/0", "--out", "page.html"), "--out page.html alone", "--html --out page.html"),
        (("runs/0", "--html", "--out", "runs"), "a folder", "name a file"),
        (("runs/0", "--html", "--out", "no/page.html"), "there is no folder no", "name a file"),
        (("runs/0", "--html", "--magnitudes"), "--html --magnitudes", "keep --html"),
        (("runs/0", "--html", "--json"), "--json --html", "keep one of them"),
        (("nowhere", "--html"), "no such folder", "lorastream run digits"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...],
    got: str,
    step: str,
    lorastream: Command,
    runs: str,
    files: Callable[[], dict[str, Any]],
) -> None:
    before = files()
    told = lorastream("report", *arguments)
    assert runs
    assert (told.code, told.out) == (2, "")
    assert got in told.err
    assert step in told.err
    assert "Traceback" not in told.err
    assert files() == before


@pytest.mark.parametrize(
    "damage", [{"schema": 99}, {"schema": "x"}, {"accuracy_matrix": [[float("nan")]]}, {"average_accuracy": 0.1}]
)
def test_a_foreign_or_damaged_record_is_named(damage: dict[str, Any], lorastream: Command, runs: str) -> None:
    file = Path(runs, "0", "record.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **damage}))
    told = lorastream("report", f"{runs}/0", "--html")
    assert (told.code, told.out) == (2, "")
    assert str(file) in told.err
    assert "next" in told.err
    assert not Path(runs, "0", "report.html").exists()


def test_a_run_leaves_its_page_and_goes_on_without_one(
    lorastream: Command, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LivePage, "__call__", DRAW)
    run = ("run", *tiny, "--methods", "prototypes", "--out")
    assert lorastream(*run, "a").code == 0
    page = Path("a/report.html").read_text()
    record = json.loads(Path("a/record.json").read_text())
    assert f"{100 * record['average_accuracy']:.1f}" in page
    assert 'id="reliability"' in page
    assert sum(record["confusion"]["images"]) == sum(record["calibration"]["images"]) == 16

    def broken(*_: object) -> str:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("lorastream.reports.page.run_page.run_page", broken)
    told = lorastream(*run, "b")
    assert told.code == 0
    assert told.err.count("b/report.html could not be made: no fonts.") == 1
    assert Path("b/record.json").exists()
    assert not Path("b/report.html").exists()
