"""A page is made of any record there can be, says what it says, and is the same bytes each time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lorastream.errors import RunError
from lorastream.reports.page.analyses import analyses_section
from lorastream.reports.page.live import LivePage
from lorastream.reports.page.run_page import run_page, write_run_page
from lorastream.reports.page.words import class_name, listed, milliseconds, outcome
from lorastream.runs import RunRecord, TaskResult, read, write
from lorastream.runs.answers import CalibrationRecord, ConfusionRecord
from lorastream.runs.thumbnails import Thumbnail

EMPTY = RunRecord(recipe={"name": "small", "method": {"name": "sd_lora"}}, id="one")
RESULTS = Path(__file__).parents[4] / "benchmarks" / "results" / "cifar100_deit_tiny"
CONFUSION = np.array([[6, 1, 3, 0], [0, 10, 0, 0], [2, 0, 8, 0], [0, 0, 5, 5]])


def _learnt(*rows: tuple[float | None, ...], status: str = "finished") -> RunRecord:
    """Return a run of two classes a task; None is a task without test images."""
    record = EMPTY
    for t, row in enumerate(rows):
        whole = t == 1
        result = TaskResult(
            classes=(f"a{t}", f"b{t}"),
            n_train=4,
            n_test=0 if row[-1] is None else 20,
            accuracy=row,
            confusion=ConfusionRecord.of(CONFUSION, [range(2), range(2, 4)]) if whole else None,
            calibration=CalibrationRecord(images=(0, 40), confidence=(None, 0.9), accuracy=(None, 0.7))
            if whole
            else None,
        )
        record = record.with_task(result)
    return record.model_copy(update={"status": status})


TWO = _learnt((0.9,), (0.8, 0.65))


def test_the_same_record_gives_the_same_bytes() -> None:
    record = read(RESULTS / "sd_lora" / "1993")
    assert run_page(record) == run_page(read(RESULTS / "sd_lora" / "1993"))
    assert run_page(record) != run_page(TWO)


def test_it_stands_alone() -> None:
    page = run_page(TWO)
    assert not re.search(r'(?:src|href)="(?:https?:|//|/)|@import|<script|url\((?!#)', page)
    assert page.startswith("<!doctype html>")


LONG = (
    "sd_lora learnt two tasks (4 classes) of unknown. At the end it has 72.5 % accuracy on average over the tasks, and"
)
STOPPED = TWO.model_copy(update={"status": "interrupted", "tasks": (*TWO.tasks, ("c",))})


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (TWO, f"{LONG} has forgotten 10.0 points of what it knew."),
        (_learnt((0.9,)), "of unknown. At the end it has 90.0 % accuracy on average over the tasks."),
        (_learnt((0.5,), (0.75, 0.25)), "25.0 points better than they ever were before."),
        (EMPTY, "sd_lora is running on small; no task is learnt yet."),
        (EMPTY.ended("failed"), "sd_lora failed on small; no task is learnt."),
        (
            STOPPED,
            "was interrupted after it had learnt two of three tasks (4 classes) of unknown. After the last of them",
        ),
    ],
)
def test_a_sentence_of_what_happened(record: RunRecord, told: str) -> None:
    assert told in outcome(record)
    assert told.replace("'", "&#39;") in run_page(record)


def test_where_the_errors_go_by_hand() -> None:
    """Of 40 images 11 are wrong: 3 + 2 + 0 leave their task, 1 + 5 stay within it."""
    page = run_page(TWO)
    assert "11 of 40 test images of the last evaluation are wrong: 5 (45.5 % of the errors)" in page
    assert "6 for another class of their own." in page
    pairs = re.search(r"Most often confused</caption>.*?</table>", page, re.DOTALL)
    assert pairs
    assert re.findall(r"<t[hd][^>]*>([^<]*)</t", pairs[0])[4:12] == ["b1", "a1", "5", "10", "a0", "a1", "3", "10"]
    assert "Expected calibration error: 20.0 points" in page


def test_an_old_record_without_confusion_makes_a_page_without_it() -> None:
    record = read(RESULTS / "inf_lora" / "1993").model_copy(update={"confusion": None, "calibration": None})
    page = run_page(record)
    assert 'id="mistakes"' not in page
    assert 'id="reliability"' not in page
    assert 'id="protected"' in page
    assert "24 to 106 directions" not in page


@pytest.mark.parametrize(
    "record",
    [
        _learnt((None,)),
        _learnt((None,), (None, 0.5)),
        _learnt((0.0,), (0.0, 0.0)),
        EMPTY.model_copy(update={"figures_per_task": ({"magnitudes": "none", "layers": [1]}, {"layers": {"a": 3}})}),
        TWO.model_copy(update={"tasks": ()}),
        TWO.model_copy(update={"task_restricted_accuracy_matrix": ((1.0,),)}),
        TWO.model_copy(update={"calibration": CalibrationRecord(images=(), confidence=(), accuracy=())}),
    ],
)
def test_odd_records_make_pages(record: RunRecord) -> None:
    assert "<h1>" in run_page(record)


def test_names_and_failures_cannot_be_markup() -> None:
    evil = "<img src=x onerror=alert(1)>"
    record = TWO.model_copy(update={"tasks": ((evil, evil), ("c", "d")), "failure": evil, "notes": (evil,)})
    assert "<img" not in run_page(record)
    assert "&lt;img" in run_page(record)


def test_pictures_of_the_confused_are_in_the_page_where_they_are_there(tmp_path: Path) -> None:
    files = {"a.jpg": (3, 2), "b.jpg": (3, 2), "gone.jpg": (3, 2), "c.jpg": (0, 2), "gone2.jpg": (0, 1)}
    kept = [
        Thumbnail(true=true, taken=taken, image=f"photos/<{file}>", file=file) for file, (true, taken) in files.items()
    ]
    record = TWO.model_copy(update={"thumbnails": tuple(kept)})
    assert "<img" not in run_page(record)
    assert "<img" not in run_page(record, tmp_path)
    (tmp_path / "thumbnails").mkdir()
    for file in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "thumbnails" / file).write_bytes(file.encode())
    page = run_page(record, tmp_path)
    assert re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" alt="([^"]*)" title="([^"]*)">', page) == [
        ("YS5qcGc=", "b1 taken for a1", "photos/&lt;a.jpg&gt;"),
        ("Yi5qcGc=", "b1 taken for a1", "photos/&lt;b.jpg&gt;"),
        ("Yy5qcGc=", "a0 taken for a1", "photos/&lt;c.jpg&gt;"),
    ]
    assert "b1 taken for a1, 2 of 5" in page
    assert "a0 taken for a1, 1 of 3" in page


def test_an_analysis_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "analyses"
    folder.mkdir()
    for name, text in {"torn": "{", "list": "[]", "short": '{"title": "T"}'}.items():
        (folder / f"{name}.json").write_text(text)
    whole = {"title": "Path", "paragraph": "Flat.", "svg": "../analyses/p.svg", "alt": "A line.", "holds": False}
    (folder / "path.json").write_text(json.dumps(whole))
    (folder / "p.svg").write_text("<svg/>")
    found = analyses_section(tmp_path)
    assert [(f.title, f.alt, f.caption) for f in found.figures] == [
        ("Path", "A line.", "Does not hold on this run. Flat.")
    ]
    assert all(f"analyses/{name}.json cannot be shown" in found.text for name in ("torn", "list", "short"))
    assert analyses_section(None).is_empty


def test_while_it_runs_the_page_is_made_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    now = iter([0.0, 0.0, 5.0, 11.0, 11.0, 12.0, 12.0])
    told: list[str] = []
    page, file = LivePage(told.append, clock=lambda: next(now)), tmp_path / "report.html"
    running = _learnt((0.9,), status="running")
    page(EMPTY, tmp_path)
    first = file.read_text()
    page(running, tmp_path)  # five seconds later: too soon
    assert file.read_text() == first
    page(running, tmp_path)
    assert "90.0" in file.read_text()
    assert 'http-equiv="refresh"' in file.read_text()
    page(TWO, tmp_path)  # a second later, but it ended
    assert 'http-equiv="refresh"' not in file.read_text()
    assert told == []


def test_a_page_that_cannot_be_made_is_told_once_and_harms_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    page = LivePage(told.append)
    for _ in range(2):
        page(TWO, tmp_path / "gone")
    (told_once,) = told
    assert "report.html could not be made" in told_once
    assert f"lorastream report {tmp_path / 'gone'} --html" in told_once
    with pytest.raises(RunError):
        write_run_page(TWO, tmp_path / "gone")


def test_the_page_reads_the_record_as_it_is_on_disk(tmp_path: Path) -> None:
    write(TWO, tmp_path)
    assert write_run_page(read(tmp_path), tmp_path).read_text() == run_page(TWO, tmp_path)


def test_words() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"class {i}" for i in range(100)]).endswith("... (100 in all)")
    assert len(listed(["x" * 30] * 20)) <= 120
    assert (milliseconds(1240.4), milliseconds(2.345), milliseconds(None)) == ("1,240 ms", "2.3 ms", "–")  # noqa: RUF001
    assert (class_name(TWO, 3), class_name(TWO, 9)) == ("b1", "class 9")
