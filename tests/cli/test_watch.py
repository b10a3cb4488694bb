"""`watch` reads the record alone, survives whatever happens to its file, and ends with the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.cli import watch
from lorastream.runs import store
from lorastream.runs.record import RunRecord, TaskResult

Command = Callable[..., Any]
RUNNING = RunRecord(recipe={"name": "small", "method": {"name": "sd_lora"}}, tasks=(("a",), ("b",)))
ONE = RUNNING.with_task(TaskResult(classes=("a",), n_train=4, n_test=4, accuracy=(0.75,), seconds=1.0))


@pytest.fixture
def folder() -> Path:
    """The folder of a run with one task learnt."""
    place = Path("runs/small")
    place.mkdir(parents=True)
    store.write(ONE, place)
    return place


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let things happen while the watcher sleeps, one at each look; after the last one it is interrupted."""

    def happen(*acts: Callable[[], object]) -> None:
        left = list(acts)

        def sleep(_seconds: float) -> None:
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr(watch.time, "sleep", sleep)

    return happen


def test_once_shows_the_run_and_changes_nothing(lorastream: Command, folder: Path, files: Callable[[], Any]) -> None:
    before = files()
    told = lorastream("watch", folder, "--once")
    assert (told.code, told.err) == (0, "")
    assert "1 of 2 tasks learnt" in told.out
    assert lorastream("watch", "--once").out.splitlines()[0] == told.out.splitlines()[0], "the newest below runs"
    assert files() == before


def test_it_ends_with_the_run(lorastream: Command, folder: Path, meanwhile: Callable[..., None]) -> None:
    meanwhile(lambda: None, lambda: store.write(ONE.ended("finished"), folder))
    told = lorastream("watch", folder)
    assert told.code == 0
    assert told.out.count("seed 0: running") == 1, "a file gets a frame only when there is news"
    assert told.out.count("seed 0: finished") == 1


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_fails_ends_it_with_1(
    status: Any, lorastream: Command, folder: Path, meanwhile: Callable[..., None]
) -> None:
    meanwhile(lambda: store.write(ONE.ended(status, failure="disk full"), folder))
    told = lorastream("watch", folder)
    assert told.code == 1
    assert "disk full" in told.out


def test_ctrl_c_stops_the_watching_alone(lorastream: Command, folder: Path, meanwhile: Callable[..., None]) -> None:
    meanwhile()
    told = lorastream("watch", folder)
    assert (told.code, told.err) == (0, "")


def test_it_waits_for_the_first_record(lorastream: Command, meanwhile: Callable[..., None]) -> None:
    Path("new").mkdir()
    meanwhile(lambda: store.write(ONE.ended("finished"), "new"))
    told = lorastream("watch", "new")
    assert (told.code, told.err) == (0, "No record in new yet; waiting for the first.\n")


def test_a_file_that_is_torn_gone_or_locked_leaves_the_last_record_in_place(folder: Path) -> None:
    path = folder / store.RECORD
    watched = watch.Watched(path)
    path.write_text("{")
    assert not watched.look()
    assert watched.trouble is not None
    assert watched.trouble.startswith("a torn or foreign file")
    path.unlink()
    assert not watched.look()
    assert watched.trouble == "No such file or directory"
    assert watched.record == ONE
    store.write(ONE.ended("finished"), folder)
    assert watched.look()
    assert (watched.record.status, watched.trouble) == ("finished", None)
    assert not watched.look(), "no news twice"


def test_age_is_never_more_than_since_the_change_was_seen(folder: Path) -> None:
    path, clock = folder / store.RECORD, [1000.0]
    os.utime(path, (400, 400))
    watched = watch.Watched(path, clock=lambda: clock[0])
    assert watched.age == 600
    store.write(ONE, folder)
    os.utime(path, (500, 500))  # the disk's clock is slow
    assert watched.look()
    clock[0] += 7
    assert watched.age == 7
    os.utime(path, (5000, 5000))  # or fast
    assert watched.look()
    assert watched.age == 0


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        (("nowhere",), "no such folder"),
        (("empty", "--once"), "no record.json in or below it"),
        (("foreign",), "schema 99"),
    ],
)
def test_what_cannot_be_watched(arguments: tuple[str, ...], got: str, lorastream: Command) -> None:
    Path("empty").mkdir()
    Path("foreign").mkdir()
    Path("foreign/record.json").write_text('{"schema": 99}')
    told = lorastream("watch", *arguments)
    assert told.code == 2
    assert got in told.err
    assert "Traceback" not in told.err
