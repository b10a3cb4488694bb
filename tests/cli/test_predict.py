"""`predict` names what pictures show, for people, programs and tables; a mistake is one screen and changes nothing."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from lorastream import Learner
from lorastream.backbones.backbone import Backbone

Command = Callable[..., Any]
TRAINING = {"epochs": 1, "batch_size": 4, "lr": 0.05, "alignment": {"covariance": "shared", "epochs": 1}}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[], Backbone], draw: Callable[..., None]) -> str:
    """Return a model of two visits, on the tiny backbone."""
    monkeypatch.setattr("lorastream.learner.load_backbone", lambda *_, **__: tiny_backbone())
    draw("spring", "heron", "stork")
    draw("summer", "egret", "шпак")
    learner = Learner(tiny_backbone(), training=TRAINING, transforms={"train": "none"})
    for visit in ("spring", "summer"):
        learner.learn(visit)
        learner.save("model")
    return "model"


def test_a_table_fits_the_terminal(lorastream: Command, model: str, draw: Callable[..., None]) -> None:
    draw("album", "a very long name of a folder that goes on and on", "zwei", images=2)
    told = lorastream("predict", model, "album", "spring/heron/0.png", "--top", 4)
    assert (told.code, told.err) == (0, "predicting (5)\n")
    assert all(cell_len(line) <= 80 for line in told.out.splitlines())
    assert "5 pictures in " in told.out
    assert "unknown" not in told.out
    assert lorastream("predict", model, "album", "-q").err == ""


def test_one_picture_is_told_without_a_progress(lorastream: Command, model: str) -> None:
    told = lorastream("predict", model, "spring/heron/0.png", "--top", 1)
    assert (told.code, told.err) == (0, "")
    assert "spring/heron/0.png" in told.out
    assert told.out.endswith("\n1 picture.\n")


def test_json_and_csv_tell_the_same_as_python(lorastream: Command, model: str) -> None:
    answers = Learner.load(model).predict("spring", top=2, unknown=True)
    document = json.loads(lorastream("predict", model, "spring", "--json", "--unknown", "--top", 2).out)
    rows = list(
        csv.DictReader(io.StringIO(lorastream("predict", model, "spring", "--csv", "--unknown", "--top", 2).out))
    )
    assert len(answers) == len(document["predictions"]) == len(rows) == 10
    assert document["temperature"] > 0
    for answer, entry, row in zip(answers, document["predictions"], rows, strict=True):
        assert answer.picture == entry["picture"] == row["picture"]
        assert answer.name == entry["name"] == row["name"]
        assert answer.is_unknown == entry["is_unknown"] == (row["is_unknown"] == "true")
        assert answer.strangeness == pytest.approx(entry["strangeness"], rel=1e-4)
        assert [name for name, _ in answer.top] == [row["class_1"], row["class_2"]]
        assert float(row["probability_1"]) == pytest.approx(answer.probability, abs=1e-5)


def test_of_several_the_broken_are_left_out_and_named(lorastream: Command, model: str) -> None:
    Path("spring/heron/1.png").write_bytes(b"")
    for given in (["spring/heron"], ["spring/heron/0.png", "spring/heron/1.png"]):
        told = lorastream("predict", model, *given)
        assert told.code == 0
        assert "left out, as they cannot be decoded:\n  spring/heron/1.png: UnidentifiedImageError" in told.err
        assert "1.png" not in told.out
    skipped = json.loads(lorastream("predict", model, "spring/heron", "--json").out)["skipped"]
    assert [entry["picture"] for entry in skipped] == ["spring/heron/1.png"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["model", "spring/heron/1.png"], "expected  an image that Pillow can decode"),
        (["model", "broken"], "broken/0.png"),
        (["model", "nowhere.png"], "got       no such file"),
        (["model", "nothing"], "got       a folder without any"),
        (["nowhere", "spring"], "got       no such folder"),
        (["spring", "spring"], "got       a folder without model.toml"),
        (["model", "spring", "--json", "--csv"], "--json --csv"),
        (["model", "spring", "--top", "0"], "--top"),
        (["model"], "lorastream predict"),
    ],
)
def test_mistakes(
    lorastream: Command, model: str, files: Callable[[], dict[str, Any]], typed: list[str], said: str
) -> None:
    del model
    Path("spring/heron/1.png").write_bytes(b"")
    Path("nothing").mkdir()
    Path("broken").mkdir()
    for name in ("0.png", "1.png"):
        Path("broken", name).write_bytes(b"GIF89a")
    before = files()
    told = lorastream("predict", *typed)
    assert (told.code, told.out) == (2, "")
    assert "Traceback" not in told.err
    for part in (said, "expected", "got", "next"):
        assert part in told.err
    assert files() == before


def test_unknown_needs_a_calibration(lorastream: Command, model: str, tiny_backbone: Callable[[], Backbone]) -> None:
    plain = Learner(tiny_backbone(), "prototypes")
    plain.model.grow(["a", "b"])
    plain.save("plain")
    told = lorastream("predict", "plain", "spring", "--unknown", "-q")
    assert told.code == 2
    assert "lorastream learn FOLDER --into MODEL" in " ".join(told.err.split())
    assert "not calibrated" in lorastream("predict", "plain", "spring").out
    assert "not calibrated" not in lorastream("predict", model, "spring").out


def test_a_wrong_path_loads_no_torch(lorastream: Command, model: str) -> None:
    del lorastream
    code = "import sys; from lorastream.cli.main import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    for typed in (["nowhere", "spring"], [model, "nowhere.png"]):
        command = [sys.executable, "-c", code, "predict", *typed]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "False\n")
