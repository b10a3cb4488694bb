"""`analyse` leaves figures, a plot and a verdict of every claim beside a run, and says what it cannot work on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from lorastream.analyses.catalogue import SUMMARIES

Command = Callable[..., Any]
LITTLE = ("--points", 3, "--images", 2, "--tasks", 2)


@pytest.fixture
def run(lorastream: Command, tiny: tuple[str, ...]) -> str:
    """A finished run of sd_lora: three tasks of two classes."""
    three = ("data.n_classes=6", "stream.tasks=3")
    assert lorastream("run", *tiny, *three, "--methods", "sd_lora", "--out", "run", "-q").code == 0
    return "run"


def altered(run: str, **changes: object) -> None:
    """Write other values into the record of a run."""
    path = Path(run, "record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_all_of_them_on_one_run(lorastream: Command, run: str) -> None:
    told = lorastream("analyse", run, "--what", "all", "--json", *LITTLE)
    assert (told.code, told.err) == (0, "")
    documents = json.loads(told.out)
    assert [document["what"] for document in documents] == list(SUMMARIES)
    for document in documents:
        written = json.loads(Path(document["file"]).read_text())
        assert written == {key: value for key, value in document.items() if key != "file"}
        plot = Path(document["file"]).with_name(written["svg"])
        assert plot.stat().st_size > 2000
        ET.parse(plot)  # noqa: S314 (our own file)
        verdict = "holds" if written["holds"] else "does not hold" if written["holds"] is False else "cannot tell"
        assert f"claim {verdict}" in written["paragraph"] or verdict in written["paragraph"]
        assert written["alt"]
        assert written["title"]
    figures = {document["what"]: document["figures"] for document in documents}
    assert figures["residuals"]["tasks"][0]["largest_difference_from_the_run"] < 1e-5, "the tasks learn as they did"
    record = json.loads(Path(run, "record.json").read_text())
    after_two = record["accuracy_matrix"][1]
    assert figures["frozen-first"]["the_run"][1] == pytest.approx(sum(after_two) / 2)
    assert figures["magnitudes"]["magnitudes"][2] == pytest.approx(record["figures_per_task"][2]["magnitudes"])
    assert figures["closeness"]["relative_distance"][0][0] == 0
    assert lorastream("report", run).code == 0, "what an analysis leaves is no run"


def test_what_is_shown_and_what_is_left_out(lorastream: Command, tiny: tuple[str, ...]) -> None:
    assert lorastream("run", *tiny, "--methods", "prototypes", "--out", "run", "-q").code == 0
    told = lorastream("analyse", "run", "--what", "magnitudes")
    assert told.code == 2
    assert "a run of a method with magnitudes" in told.err
    assert "prototypes" in told.err
    assert "--methods sd_lora" in told.err
    told = lorastream("analyse", "run", "--what", "efficiency")
    assert told.code == 0
    assert told.out.startswith("efficiency: Cost of a prediction")
    assert "On this run: holds.\n" in told.out
    assert "Saved in run/analyses/efficiency.json and efficiency.svg\n" in told.out
    assert max(map(len, told.out.splitlines())) <= 80


MISTAKES = {
    ("nowhere", "--what", "path"): "no such file",
    ("run", "--what", "paths"): "did you mean 'path'?",
    ("run", "--what", ""): "names separated by commas",
    ("run",): "--what",
    ("run", "--what", "path", "--points", "2"): "--points",
    ("run", "--what", "path", "--set", "training.lr=1"): "it would be another run",
    ("run", "--what", "path", "--set", "data.root"): "key=value",
}


@pytest.mark.usefixtures("run")
def test_a_mistake_is_told_at_once_and_changes_nothing(
    lorastream: Command, files: Callable[[], dict[str, Any]]
) -> None:
    before = files()
    for arguments, said in MISTAKES.items():
        told = lorastream("analyse", *arguments)
        assert (told.code, told.out) == (2, "")
        assert said in told.err
        assert "Traceback" not in told.err
        assert len(told.err.splitlines()) < 24
        assert files() == before


def test_runs_that_cannot_be_analysed(lorastream: Command, run: str, files: Callable[[], dict[str, Any]]) -> None:
    record = json.loads(Path(run, "record.json").read_text())
    altered(run, status="interrupted")
    told = lorastream("analyse", run, "--what", "path")
    assert told.code == 2
    assert "one that is interrupted, 3 tasks learnt" in told.err
    altered(run, status="finished", backbone={**record["backbone"], "sha256": "0" * 64})
    before = files()
    told = lorastream("analyse", run, "--what", "path")
    assert told.code == 2
    assert "weights with SHA-256 0000" in told.err
    assert files() == before
    Path(run, "model").rename("elsewhere")
    told = lorastream("analyse", run, "--what", "magnitudes")
    assert told.code == 2
    assert "the model that the run ended with" in told.err


def test_data_that_was_moved_is_asked_for(lorastream: Command, run: str) -> None:
    record = json.loads(Path(run, "record.json").read_text())
    data = {"source": "folder", "root": "gone"}
    altered(run, recipe={**record["recipe"], "data": data})
    told = lorastream("analyse", run, "--what", "path")
    assert told.code == 2
    assert "gone" in told.err
    assert "say where it is now with --set data.root=FOLDER" in " ".join(told.err.split())
