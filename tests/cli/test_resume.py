"""What was stopped is offered, refused or gone on with: to the same figures, and never silently begun anew."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.backbones.backbone import Backbone
from lorastream.training import descent
from lorastream.training.manifest import MANIFEST

Command = Callable[..., Any]
Tiny = tuple[str, ...]
Files = Callable[[], dict[str, Any]]
Stop = Callable[..., None]


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Send this process a signal at a step of the command that is run next."""

    def at(step: int, number: int = signal.SIGINT) -> None:
        take, steps = descent.Descent._step, [0]

        def signalled(self: Any, *given: Any) -> None:
            steps[0] += 1
            if steps[0] == step:
                os.kill(os.getpid(), number)
            take(self, *given)

        monkeypatch.setattr(descent.Descent, "_step", signalled)

    return at


def _figures(folder: str) -> dict[str, Any]:
    record = json.loads(Path(folder, "record.json").read_text())
    models = {path.name: path.read_bytes() for path in Path(folder, "model").iterdir()}
    return {key: record[key] for key in ("accuracy_matrix", "epochs", "figures_per_task", "status")} | models


@pytest.mark.parametrize(
    ("number", "code", "last"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
def test_a_signal_keeps_the_step_and_resume_ends_with_the_same_bytes(
    number: int, code: int, last: str, lorastream: Command, tiny: Tiny, stop: Stop, files: Files
) -> None:
    assert lorastream("run", *tiny, "--out", "whole").code == 0
    stop(5, number)
    told = lorastream("run", *tiny, "--out", "cut")
    assert (told.code, told.out) == (code, "")
    assert told.err.splitlines()[-1] == last
    assert "--out cut --resume" in told.err
    before = files()
    refused = lorastream("run", *tiny, "--out", "cut")
    assert (refused.code, refused.out) == (2, "")
    assert "an unfinished run, stopped in task 2, after 2 steps" in refused.err
    assert "--resume" in refused.err
    other = lorastream("run", *tiny, "training.lr=0.5", "--out", "cut", "--resume")
    assert other.code == 2
    assert "training.lr" in other.err
    assert "the recipe that the run began with" in " ".join(other.err.split())
    assert files() == before
    on = lorastream("run", *tiny, "--out", "cut", "--resume")
    assert on.code == 0, on.err
    assert "going on in task 2, after 2 steps" in on.err
    assert _figures("cut") == _figures("whole")
    assert not Path("cut/resume").exists()
    again = lorastream("run", *tiny, "--out", "cut", "--resume")
    assert again.code == 0
    assert "task 2 of 2 learnt" not in again.err, "what is finished is left"


def test_without_a_folder_the_newest_of_this_recipe_is_gone_on_with(
    lorastream: Command, tiny: Tiny, stop: Stop
) -> None:
    stop(2)
    assert lorastream("run", *tiny).code == 130
    (folder,) = Path("runs/digits/sd_lora").iterdir()
    told = lorastream("run", *tiny, "--resume")
    assert (told.code, told.out.splitlines()[-1]) == (0, f"Saved in {folder}")
    assert list(Path("runs/digits/sd_lora").iterdir()) == [folder]
    fresh = lorastream("run", *tiny, "seed=3", "--resume")
    assert fresh.code == 0, "where there is none, one begins"


def test_of_several_runs_the_finished_are_left_and_the_others_gone_on_with(
    lorastream: Command, tiny: Tiny, stop: Stop
) -> None:
    stop(4)
    several = ("run", *tiny, "--methods", "prototypes,sd_lora", "--out", "all")
    assert lorastream(*several).code == 130
    done = Path("all/prototypes/0/record.json").read_bytes()
    told = lorastream(*several, "--resume", "--json")
    assert told.code == 0, told.err
    assert [entry["status"] for entry in json.loads(told.out)] == ["finished", "finished"]
    assert Path("all/prototypes/0/record.json").read_bytes() == done


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_is_offered(
    answer: bool, lorastream: Command, tiny: Tiny, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(1)
    assert lorastream("run", *tiny, "--out", "cut").code == 130
    asked: list[str] = []

    def wanted(where: str) -> bool:
        asked.append(where)
        return answer

    monkeypatch.setattr("lorastream.cli.resuming.is_wanted", wanted)
    assert lorastream("run", *tiny, "--out", "cut").code == (0 if answer else 2)
    assert asked == ["cut: an unfinished run, stopped in task 1, after 1 step"]


def test_a_damaged_newest_state_is_named_and_the_one_before_is_used(
    lorastream: Command, tiny: Tiny, stop: Stop
) -> None:
    whole = lorastream("run", *tiny, "--out", "whole")
    stop(6)
    assert (whole.code, lorastream("run", *tiny, "--out", "cut").code) == (0, 130)
    newest = max(Path("cut/resume").iterdir())
    newest.write_bytes(newest.read_bytes()[:-7])
    told = lorastream("run", *tiny, "--out", "cut", "--resume")
    assert told.code == 0
    assert f"cut/resume/{newest.name} is damaged" in told.err
    assert [path.name for path in Path("cut/resume").iterdir()] == [f"{newest.name}.damaged"]
    assert _figures("cut") == _figures("whole")


@pytest.fixture
def _tiny_learner(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[], Backbone]) -> None:
    monkeypatch.setattr("lorastream.learner.load_backbone", lambda *_, **__: tiny_backbone())


@pytest.mark.usefixtures("_tiny_learner")
def test_a_visit_is_gone_on_with_and_the_model_is_the_old_one_until_then(
    lorastream: Command, draw: Callable[..., None], stop: Stop
) -> None:
    draw("spring", "cat", "dog")
    draw("summer", "owl", "fox")
    quick = ("training.epochs=2", "training.batch_size=4")
    for into in ("whole", "cut"):
        assert lorastream("learn", "spring", *quick, "--into", into).code == 0
    assert lorastream("learn", "summer", *quick, "--into", "whole").code == 0
    before = Path("cut", MANIFEST).read_bytes()
    stop(3)
    told = lorastream("learn", "summer", *quick, "--into", "cut")
    assert (told.code, told.out) == (130, "")
    assert "Go on where it stopped: lorastream learn summer" in told.err
    assert Path("cut", MANIFEST).read_bytes() == before
    refused = lorastream("learn", "summer", *quick, "--into", "cut")
    assert refused.code == 2
    assert "one of summer, after 1 epoch and 1 step" in refused.err
    other = lorastream("learn", "summer", "training.epochs=3", quick[1], "--into", "cut", "--resume")
    assert other.code == 2
    assert "training.epochs: 2 then, 3 now" in " ".join(other.err.split())
    assert lorastream("predict", "cut", "spring/cat/0.png").code == 0, "readers of the model see nothing of it"
    on = lorastream("learn", "summer", *quick, "--into", "cut", "--resume")
    assert on.code == 0, on.err
    assert not Path("cut/resume").exists()
    tensors = [{path.name: path.read_bytes() for path in Path(into).glob("*.safetensors")} for into in ("whole", "cut")]
    assert tensors[0] == tensors[1]
