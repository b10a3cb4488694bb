"""`run` writes where it was told, says what came of it, speaks pure JSON, and ends with a code a script can trust."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
Tiny = tuple[str, ...]


def _runs(root: str = ".") -> list[str]:
    return sorted(str(path.parent) for path in Path(root).rglob("record.json"))


def test_one_run_writes_straight_into_its_folder(lorastream: Command, tiny: Tiny) -> None:
    told = lorastream("run", *tiny, "--out", "here/now")
    assert told.code == 0
    assert _runs() == ["here/now"]
    assert Path("here/now/model/model.toml").is_file()
    lines = told.out.splitlines()
    assert lines[0] == "sd_lora, seed 0"
    assert re.fullmatch(r"After two tasks: sd_lora \d+\.\d % \(forgetting -?\d+\.\d\)\.", lines[-2])
    assert lines[-1] == "Saved in here/now"
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines)


def test_pictures_of_mistakes_are_kept_and_shown_where_they_are_asked_for(lorastream: Command, tiny: Tiny) -> None:
    assert lorastream("run", *tiny, "--out", "without").code == 0
    assert not Path("without/thumbnails").exists()
    assert lorastream("run", *tiny, "training.lr=10", "--thumbnails", "--out", "with").code == 0
    assert lorastream("report", "with", "--html").code == 0
    page = Path("with/report.html").read_text()
    pictures = re.findall(r'<img src="data:image/jpeg[^>]* alt="[^"]+ taken for [^"]+"', page)
    assert len(pictures) == len(list(Path("with/thumbnails").iterdir())) > 0


def test_several_runs_write_into_folders_below(lorastream: Command, tiny: Tiny) -> None:
    told = lorastream(
        "run", *tiny, "seed=7", "--methods", "prototypes, sd_lora,prototypes", "--seeds", 2, "--out", "all"
    )
    assert told.code == 0
    assert _runs() == ["all/prototypes/7", "all/prototypes/8", "all/sd_lora/7", "all/sd_lora/8"]
    assert [line for line in told.out.splitlines() if line.startswith("Saved in")] == [
        f"Saved in {folder}" for folder in _runs()
    ]


def test_a_run_that_is_not_told_where_makes_a_folder_of_its_own(lorastream: Command, tiny: Tiny) -> None:
    for _ in range(2):
        assert lorastream("run", *tiny, "--methods", "prototypes").code == 0
    found = _runs()
    assert len(found) == 2
    assert all(re.fullmatch(r"runs/digits/prototypes/0-[0-9a-f]{8}", folder) for folder in found)


def test_seeds_give_mean_and_standard_deviation(lorastream: Command, tiny: Tiny) -> None:
    told = lorastream("run", *tiny, "--seeds", 3, "--out", "three")
    assert told.code == 0
    values = [json.loads(Path(folder, "record.json").read_text())["average_accuracy"] for folder in _runs()]
    mean = sum(values) / 3
    deviation = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    assert deviation > 0, "three seeds that agree would show nothing here"
    closing = " ".join(told.out.split())
    assert f"sd_lora {100 * mean:.1f} ± {100 * deviation:.1f} %" in closing
    assert "three seeds" in closing
    assert f"± {100 * deviation:.1f}" in told.out.split("After two tasks")[0], "the table says it too"


def test_json_stands_alone_on_standard_output_while_progress_shows(lorastream: Command, tiny: Tiny) -> None:
    told = lorastream("run", *tiny, "--out", "one", "--json")
    document = json.loads(told.out)
    assert (document["folder"], document["status"], document["seed"]) == ("one", "finished", 0)
    assert re.search(r"^sd_lora, seed 0: task 2 of 2 learnt in .* loss \d\.\d{3}, accuracy", told.err, re.MULTILINE)
    several = json.loads(lorastream("run", *tiny, "--seeds", 2, "--out", "two", "--json").out)
    assert [entry["folder"] for entry in several] == ["two/sd_lora/0", "two/sd_lora/1"]


def test_what_a_library_prints_is_no_part_of_the_output(
    lorastream: Command, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorastream.learner import Learner

    evaluate = Learner.evaluate

    def chatty(self: Learner, *given: Any, **options: Any) -> Any:
        print("Downloading ...")  # noqa: T201 (as some libraries do)
        return evaluate(self, *given, **options)

    monkeypatch.setattr(Learner, "evaluate", chatty)
    told = lorastream("run", *tiny, "--out", "one", "--json")
    assert json.loads(told.out)["status"] == "finished"
    assert told.err.count("Downloading") == 2


def test_quiet_says_the_closing_line_alone(lorastream: Command, tiny: Tiny) -> None:
    told = lorastream("run", *tiny, "--out", "one", "-q")
    assert (told.code, told.err) == (0, "")
    assert re.fullmatch(r"After two tasks: sd_lora .*\.\n", told.out)


def test_own_photographs_with_names_of_all_kinds(lorastream: Command, tiny: Tiny, draw: Callable[..., None]) -> None:
    del tiny
    draw("my photos", "red fox", "Käse & Brot", images=3)
    draw("my photos", "red fox/deeper", "日本 猫", "[bold]", images=4, suffix="jpg")
    for stray in (".hidden.png", "red fox/notes.txt", "red fox/.DS_Store"):
        Path("my photos", stray).write_text("no picture")
    told = lorastream("run", "folder", "data.root=my photos", "training.epochs=1", "--out", "[red]fox")
    assert told.code == 0, told.err
    tasks = json.loads(Path("[red]fox/record.json").read_text("utf-8"))["tasks"]
    assert tasks == [["Käse & Brot", "[bold]"], ["red fox", "日本 猫"]]
    assert "Note: my photos: passed over 1 file that is no image (1 .txt)." in " ".join(told.out.split())
    assert told.out.splitlines()[-1] == "Saved in [red]fox"


def test_a_test_folder_takes_the_place_of_a_fraction(
    lorastream: Command, tiny: Tiny, draw: Callable[..., None]
) -> None:
    del tiny
    draw("photos/train", "cat", "dog", images=6)
    draw("photos/test", "cat", "dog", images=2)
    told = lorastream("run", "folder", "data.root=photos", "data.test_fraction=none", "training.epochs=1", "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["dataset"] | {"n_train": [6, 6], "n_test": [2, 2]} == json.loads(told.out)["dataset"]


def test_a_loss_that_is_not_finite_fails_the_run_and_the_record_says_so(lorastream: Command, tiny: Tiny) -> None:
    told = lorastream("run", *tiny, "training.lr=1e30", "--out", "wild")
    assert (told.code, told.out) == (1, "")
    assert "One failure\n" in told.err
    assert "expected  a finite loss" in told.err
    assert "Traceback" not in told.err
    record = json.loads(Path("wild/record.json").read_text())
    assert record["status"] == "failed"
    assert "finite loss" in record["failure"]


def test_what_finished_is_shown_where_a_later_run_fails(lorastream: Command, tiny: Tiny) -> None:
    told = lorastream("run", *tiny, "training.lr=1e30", "--methods", "prototypes,sd_lora", "--out", "both", "--json")
    assert told.code == 1
    assert [entry["status"] for entry in json.loads(told.out)] == ["finished"]
    assert json.loads(Path("both/sd_lora/0/record.json").read_text())["status"] == "failed"


def test_a_run_that_is_there_already_is_left_alone(
    lorastream: Command, tiny: Tiny, files: Callable[[], dict[str, Any]]
) -> None:
    assert lorastream("run", *tiny, "--methods", "prototypes", "--out", "done").code == 0
    before = files()
    told = lorastream("run", *tiny, "--out", "done")
    assert (told.code, told.out) == (2, "")
    assert files() == before


def test_what_the_system_refuses_is_a_failure_without_a_traceback(
    lorastream: Command, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device", "runs/model")

    monkeypatch.setattr("lorastream.learner.Learner.save", full)
    told = lorastream("run", *tiny, "--out", "one")
    assert (told.code, told.out) == (1, "")
    assert "One failure\nruns/model\n" in told.err
    assert "No space left on device" in told.err
    assert "Traceback" not in told.err


def test_a_folder_that_may_not_be_written_to_is_refused_before_anything_is_learnt(
    lorastream: Command, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("theirs").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: not (mode & os.W_OK and str(path) == "theirs"))
    for out in ("theirs", "theirs/run"):
        told = lorastream("run", *tiny, "--out", out)
        assert (told.code, told.out) == (2, "")
        assert f"One mistake\n{out}\n" in told.err
        assert "theirs may not be written to" in told.err


@pytest.mark.parametrize("task", [0, 1])
def test_interrupted_is_130_and_what_was_learnt_is_recorded(
    task: int, lorastream: Command, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorastream.learner import Learner

    evaluate = Learner.evaluate

    def stopped(self: Learner, *given: Any, **options: Any) -> Any:
        if self.model.n_classes == 2 * (task + 1):
            raise KeyboardInterrupt
        return evaluate(self, *given, **options)

    monkeypatch.setattr(Learner, "evaluate", stopped)
    told = lorastream("run", *tiny, "--out", "cut")
    assert (told.code, told.out) == (130, "")
    recorded, how, last = told.err.splitlines()[-3:]
    assert (recorded, last) == ("What was learnt is recorded: lorastream report cut", "Interrupted.")
    assert how.startswith("Go on where it stopped: lorastream run digits ")
    assert how.endswith(" --out cut --resume")
    assert "Traceback" not in told.err
    record = json.loads(Path("cut/record.json").read_text())
    assert (record["status"], len(record["accuracy_matrix"])) == ("interrupted", task)
    assert lorastream("report", "cut").code == 0
