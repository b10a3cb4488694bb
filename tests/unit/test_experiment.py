"""A run leaves a record of all that happened and a model, whether it finished, was interrupted, or failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from lorastream import Learner, RunRecord
from lorastream.backbones.backbone import Backbone
from lorastream.data.images import Dataset
from lorastream.data.sources import load as load_source
from lorastream.errors import CheckpointError, RecipeError, RunError
from lorastream.experiment import run
from lorastream.metrics import AccuracyMatrix, summarise
from lorastream.recipes import load as recipes
from lorastream.recipes.schema import Recipe
from lorastream.runs import store
from lorastream.training.checkpoint import read_model
from lorastream.training.events import EpochDone, Event, Preparing, TaskStarted


def _recipe(*changes: str, method: str = "sd_lora") -> Recipe:
    usual = ["stream.tasks=3", "training.epochs=2", "training.batch_size=8", "training.lr=0.05"]
    if method == "sd_lora":
        usual.append("method.rank=2")
    return recipes.load("digits", [*usual, *changes], method=method)


@pytest.fixture
def images() -> Dataset:
    return load_source("synthetic", n_classes=6, images_per_class=6, test_images_per_class=5, size=16)


@pytest.fixture
def go(images: Dataset, tiny_backbone: Callable[[], Backbone], tmp_path: Path) -> Callable[..., Any]:
    def go(recipe: Recipe, folder: Path | None = None, **options: Any) -> tuple[RunRecord, Path]:
        given = {"dataset": images, "backbone": tiny_backbone(), "cache": tmp_path / "cache", "root": tmp_path / "runs"}
        return run(recipe, folder, **{**given, **options})

    return go


def test_the_record_of_a_finished_run(go: Callable[..., Any], tmp_path: Path) -> None:
    recipe = _recipe("seed=7")
    record, folder = go(recipe, tmp_path / "run")
    assert folder == tmp_path / "run"
    assert store.read(folder) == record
    assert (record.status, record.failure, record.seed) == ("finished", None, 7)
    assert (record.method, record.recipe_name) == ("sd_lora", "digits")
    assert record.recipe == recipe.resolved()
    assert (record.hyper_parameters["rank"], record.hyper_parameters["targets"]) == ([2], ["query", "value"])
    assert record.hyper_parameters["norm"] == "product"
    assert not [name for name in record.hyper_parameters if name.endswith("_")]
    assert record.started is not None
    assert record.finished is not None
    assert record.started <= record.finished

    assert [len(names) for names in record.tasks] == [2, 2, 2]
    assert [len(row) for row in record.accuracy_matrix] == [1, 2, 3]
    assert [len(row) for row in record.task_restricted_accuracy_matrix] == [1, 2, 3]
    assert record.dataset is not None
    assert (record.dataset.n_train, record.dataset.n_test) == ((12,) * 3, (10,) * 3)
    assert (record.dataset.name, len(record.dataset.fingerprint or "")) == ("synthetic", 32)
    summary = summarise(AccuracyMatrix(rows=record.accuracy_matrix, n_test=(10,) * 3))
    assert record.average_accuracy == pytest.approx(summary.average_accuracy)
    assert record.forgetting == pytest.approx(summary.forgetting)

    assert [(epoch.task, epoch.epoch) for epoch in record.epochs] == [(t, e) for t in range(3) for e in range(2)]
    assert all(s is not None and s > 0 for s in record.seconds_per_task)
    # Of four slices: down and up of rank 2; a magnitude a task; two new head rows.
    assert record.trainable_parameters_per_task == tuple(4 * 2 * 64 + tasks + 66 for tasks in (1, 2, 3))
    assert [figures["ranks"] for figures in record.figures_per_task] == [[2], [2, 2], [2, 2, 2]]
    assert record.versions["torch"] == version("torch")
    assert (record.device.kind, record.device.processes, record.device.precision) == ("cpu", 1, "fp32")
    assert record.backbone is not None
    assert (record.backbone.tag, record.backbone.image_size) == ("tiny", 16)


def test_the_model_of_a_finished_run_answers_as_the_record_says(
    go: Callable[..., Any], tmp_path: Path, tiny_backbone: Callable[[], Backbone]
) -> None:
    record, folder = go(_recipe())
    learner = Learner.load(folder / "model", backbone=tiny_backbone())
    sizes: dict[str, Any] = {"n_classes": 6, "images_per_class": 6, "test_images_per_class": 5, "size": 16}
    stream = learner.stream("synthetic", classes=record.tasks, cache=tmp_path / "cache", **sizes)
    assert learner.evaluate(stream).accuracy == record.accuracy_matrix[-1]


def test_the_default_folder_is_named_by_recipe_method_and_seed(go: Callable[..., Any], tmp_path: Path) -> None:
    record, folder = go(_recipe("training.epochs=0"))
    assert folder == tmp_path / "runs" / "digits" / "sd_lora" / f"{record.seed}-{record.id}"
    assert {path.name for path in folder.iterdir()} == {"record.json", "model"}


def test_a_folder_with_a_run_in_it_is_refused_and_left_as_it_is(go: Callable[..., Any], tmp_path: Path) -> None:
    _, folder = go(_recipe("training.epochs=0"), tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    events: list[Event] = []
    with pytest.raises(CheckpointError, match=r"(?s)record\.json of an earlier run.*--out"):
        go(_recipe("seed=2"), folder, listen=events.append)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not any(isinstance(event, TaskStarted) for event in events)


def test_a_folder_with_other_things_in_it_keeps_them(go: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    go(_recipe("training.epochs=0"), tmp_path / "run")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_run_that_is_asked_to_keeps_pictures_of_what_it_mistakes(go: Callable[..., Any], tmp_path: Path) -> None:
    written: list[set[str]] = []

    def recorded(record: RunRecord, folder: Path) -> None:
        named = {one.file for one in record.thumbnails}
        written.append(named)
        assert named <= {path.name for path in folder.glob("thumbnails/*")}, "a record never names what is not there"

    record, folder = go(_recipe("training.epochs=1"), tmp_path / "run", recorded=recorded, thumbnails=True)
    assert record.confusion is not None
    assert {(one.true, one.taken) for one in record.thumbnails} == {pair[:2] for pair in record.confusion.pairs[:6]}
    assert {path.name for path in folder.glob("thumbnails/*")} == {one.file for one in record.thumbnails} != set()
    assert written[2] - written[-1], "pictures of an earlier evaluation were there, and are gone"
    assert store.read(folder) == record


def test_a_run_that_is_gone_on_with_has_the_pictures_of_its_last_evaluation(
    go: Callable[..., Any], tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, EpochDone) and event.task == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(_recipe("training.epochs=1"), tmp_path / "run", listen=interrupt, thumbnails=True)
    assert store.read(tmp_path / "run").thumbnails
    record, folder = go(_recipe("training.epochs=1"), tmp_path / "run", resume=True, thumbnails=True)
    whole, other = go(_recipe("training.epochs=1"), tmp_path / "whole", thumbnails=True)
    assert record.thumbnails == whole.thumbnails
    pictures = [{path.name: path.read_bytes() for path in place.glob("thumbnails/*")} for place in (folder, other)]
    assert pictures[0] == pictures[1]
    assert pictures[0].keys() == {one.file for one in record.thumbnails}


def test_an_interrupted_run_keeps_every_task_that_was_learnt(
    go: Callable[..., Any], tmp_path: Path, tiny_backbone: Callable[[], Backbone]
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, EpochDone) and event.task == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(_recipe(), tmp_path / "run", listen=interrupt)
    record = store.read(tmp_path / "run")
    assert (record.status, record.failure) == ("interrupted", None)
    assert [len(row) for row in record.accuracy_matrix] == [1]
    assert {epoch.task for epoch in record.epochs} == {0}
    assert record.finished is not None
    learner = Learner.load(tmp_path / "run" / "model", backbone=tiny_backbone())
    assert learner.class_names == list(record.tasks[0])


def test_an_interruption_before_the_first_task_leaves_a_record(go: Callable[..., Any], tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, TaskStarted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(_recipe(), tmp_path / "run", listen=interrupt)
    record = store.read(tmp_path / "run")
    assert (record.status, record.accuracy_matrix) == ("interrupted", ())
    assert not (tmp_path / "run" / "model").exists()


def test_a_failed_run_says_why(go: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RunError):
        go(_recipe("training.lr=1e30", "training.epochs=5"), tmp_path / "run")
    record = store.read(tmp_path / "run")
    assert record.status == "failed"
    assert record.failure is not None
    assert "a finite loss" in record.failure
    assert record.finished is not None


def test_an_error_of_another_kind_is_named_too(go: Callable[..., Any], tmp_path: Path) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, EpochDone) and event.task == 2:
            raise ZeroDivisionError("in the middle of it")

    with pytest.raises(ZeroDivisionError):
        go(_recipe(), tmp_path / "run", listen=fail)
    record = store.read(tmp_path / "run")
    assert (record.status, record.failure) == ("failed", "ZeroDivisionError: in the middle of it")
    assert len(record.accuracy_matrix) == 2


def test_the_record_is_written_after_every_task(go: Callable[..., Any], tmp_path: Path) -> None:
    seen: list[int] = []

    def look(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.task:
            record = store.read(tmp_path / "run")
            assert record.status == "running"
            seen.append(len(record.accuracy_matrix))

    go(_recipe(), tmp_path / "run", listen=look)
    assert seen == [1, 2]


def test_the_same_seed_is_the_same_run_and_another_is_another(go: Callable[..., Any]) -> None:
    runs = [go(_recipe(f"seed={seed}", "stream.order=seed")) for seed in (1, 1, 2)]
    (first, second, other), folders = [record for record, _ in runs], [folder for _, folder in runs]
    assert first.accuracy_matrix == second.accuracy_matrix
    assert first.epochs == second.epochs
    models = [read_model(folder / "model")[1] for folder in folders]
    assert all(torch.equal(t, models[1][part][n]) for part, tensors in models[0].items() for n, t in tensors.items())
    assert other.tasks != first.tasks
    assert other.epochs != first.epochs
    assert len(set(folders)) == 3


def test_another_seed_initialises_anew_where_the_order_is_the_same(go: Callable[..., Any]) -> None:
    records = [go(_recipe(f"seed={seed}", "stream.order=natural"))[0] for seed in (1, 2)]
    assert records[0].tasks == records[1].tasks
    assert records[0].epochs != records[1].epochs


def test_a_method_that_needs_all_images_gets_them(go: Callable[..., Any]) -> None:
    record, _ = go(_recipe("training.epochs=1", method="joint"))
    assert record.status == "finished"
    assert [len(row) for row in record.accuracy_matrix] == [1, 2, 3]
    assert record.dataset.n_train == (12,) * 3  # of the task's own classes


def test_decoding_is_told(go: Callable[..., Any]) -> None:
    events: list[Event] = []
    go(_recipe("training.epochs=0"), listen=events.append)
    prepared = [event for event in events if isinstance(event, Preparing)]
    assert [prepared[-1].done, prepared[-1].total] == [30, 30]
    assert Preparing(done=36, total=36) in prepared


@pytest.mark.parametrize(
    ("program", "expected"),
    [("/somewhere/bin/lorastream", "lorastream run digits 'data.root=my photos'"), ("/somewhere/pytest", None)],
)
def test_the_command_that_repeats_it_is_recorded_where_there_is_one(
    go: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, program: str, expected: str | None
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "run", "digits", "data.root=my photos"])
    record, _ = go(_recipe("training.epochs=0"))
    assert record.command == expected


def test_names_that_only_the_parts_know_are_checked_before_anything_is_made(
    go: Callable[..., Any], tmp_path: Path
) -> None:
    recipe = _recipe("method.rank=0", "data.source=digist")
    with pytest.raises(RecipeError) as caught:
        go(recipe, tmp_path / "run")
    assert [fault.where.rpartition(" ")[2] for fault in caught.value.faults] == ["method.rank", "data.source"]
    assert not (tmp_path / "run").exists()
