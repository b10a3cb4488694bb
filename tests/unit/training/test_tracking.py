"""A tracker is told what the record says, under its names, once; whatever it does, the run goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lorastream.errors import MissingExtraError, UserError
from lorastream.runs.record import EpochResult, RunRecord, TaskResult
from lorastream.training import tracking
from lorastream.training.events import EpochDone, TaskStarted
from lorastream.training.tracking import Tracking

RECIPE = {"name": "small", "method": {"name": "sd_lora", "rank": [4]}, "training": {"lr": 0.1, "clip_norm": None}}


def _told(tracker: Tracking, folder: Path, *, tasks: int = 2, epochs: int = 2) -> RunRecord:
    """Let a run of some tasks go by, as `experiment.run` tells of it."""
    record = RunRecord(recipe=RECIPE, id="abc", seed=3)
    for t in range(tasks):
        names = (f"class {t}",)
        tracker.listen(TaskStarted(task=t, class_names=names, epochs=epochs, steps_per_epoch=5))
        for e in range(epochs):
            tracker.listen(EpochDone(task=t, epoch=e, loss=2.0 - t - e / 4, accuracy=0.5, lr=0.1))
            record = record.with_epoch(EpochResult(task=t, epoch=e, loss=2.0 - t - e / 4, accuracy=0.5, lr=0.1))
        row = (0.5,) * t + (1.0,)
        record = record.with_task(TaskResult(classes=names, n_train=4, n_test=4, accuracy=row, seconds=2.0))
        tracker.recorded(record, folder)
    record = record.ended("finished")
    tracker.recorded(record, folder)
    return record


class _Stand:
    """Stands in for wandb's or trackio's run, and keeps all it is told."""

    def __init__(self, **options: Any) -> None:
        self.options, self.told, self.config = options, [], {}
        self.finished = 0

    def log(self, values: dict[str, Any], step: int) -> None:
        self.told.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a package that stands in for a tracker, and return its runs."""

    def make(name: str) -> list[_Stand]:
        runs: list[_Stand] = []
        package: Any = ModuleType(name)
        package.__spec__ = tracking.importlib.util.spec_from_loader(name, loader=None)

        class _Config(dict[str, Any]):
            def update(self, values: dict[str, Any], *, allow_val_change: bool) -> None:  # type: ignore[override]
                assert allow_val_change
                runs[-1].config = values

        package.config = _Config()
        package.init = lambda **options: runs.append(_Stand(**options)) or runs[-1]
        monkeypatch.setitem(sys.modules, name, package)
        return runs

    return make


def test_tensorboard_reads_back_what_the_record_says(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = _told(Tracking("tensorboard", tell=pytest.fail), tmp_path)
    events = EventAccumulator(str(tmp_path / tracking.FOLDER))
    events.Reload()

    def read(name: str) -> list[tuple[int, float]]:
        return [(event.step, event.value) for event in events.Scalars(name)]

    assert read("epochs/loss") == [(0, 2.0), (1, 1.75), (2, 1.0), (3, 0.75)]
    assert read("average_accuracy") == [(1, 1.0), (3, 0.75)]
    assert read("accuracy_matrix/1") == [(1, 1.0), (3, 0.5)]
    assert read("forgetting") == [(3, 0.5)], "one task forgets nothing: it is not defined there"
    assert {name for name in events.Tags()["scalars"] if "/" not in name} <= set(RunRecord.model_fields)
    assert record.average_accuracy == 0.75


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_others_are_told_the_same_in_rising_steps(name: str, stand: Any, tmp_path: Path) -> None:
    runs = stand(name)
    _told(Tracking(name, tell=pytest.fail), tmp_path)
    (run,) = runs
    steps = [step for step, _ in run.told]
    assert steps == sorted(steps) == [0, 1, 1, 2, 3, 3]
    assert run.told[-1][1]["average_accuracy"] == 0.75
    assert run.options["project"] == "small"
    assert run.options["name"] == "sd_lora-3-abc"
    assert run.config["training.lr"] == 0.1
    assert run.config["method.rank"] == "[4]"
    assert run.finished == 1


def test_what_wandb_writes_lies_in_the_folder_of_the_run(stand: Any, tmp_path: Path) -> None:
    (run,) = (stand("wandb"), _told(Tracking("wandb", tell=pytest.fail), tmp_path))[0]
    assert Path(run.options["dir"]) == tmp_path / tracking.FOLDER
    assert (tmp_path / tracking.FOLDER).is_dir()


def test_a_tracker_that_refuses_is_named_once_and_told_no_more(stand: Any, tmp_path: Path) -> None:
    runs, said = stand("wandb"), []

    def refuse(_self: _Stand, _values: dict[str, Any], step: int) -> None:
        raise ConnectionError(f"no network at {step}")

    tracker = Tracking("wandb", tell=said.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Stand, "log", refuse)
        _told(tracker, tmp_path)
    assert said == ["wandb is told no more: ConnectionError: no network at 0"]
    assert len(runs) == 1


def test_a_method_without_epochs_counts_tasks(stand: Any, tmp_path: Path) -> None:
    runs = stand("trackio")
    _told(Tracking("trackio", tell=pytest.fail), tmp_path, tasks=3, epochs=0)
    assert [step for step, _ in runs[0].told] == [0, 1, 2]


def test_a_tracker_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean 'wandb'"):
        tracking.check("wanb")
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"lorastream\[track\]"):
        tracking.check("trackio")
