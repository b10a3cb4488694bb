"""A record grows task by task, its summaries never disagree with its matrix, and JSON gives it back unchanged."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lorastream.errors import UserError
from lorastream.metrics import summarise
from lorastream.runs.record import DatasetRecord, EpochResult, RunRecord, TaskResult

RECIPE: dict[str, Any] = {"name": "digits", "method": {"name": "sd_lora", "rank": 4}}


def result(t: int, **changes: Any) -> TaskResult:
    values: dict[str, Any] = {"classes": (f"class {t}",), "n_train": 8, "n_test": 4, "accuracy": [0.5] * (t + 1)}
    return TaskResult(**{**values, **changes})


@st.composite
def records(draw: st.DrawFn) -> RunRecord:
    """A record after up to four tasks."""
    record = RunRecord(recipe=RECIPE, seed=draw(st.integers(0, 9)))
    n_test = draw(st.lists(st.integers(0, 9), max_size=4))
    for t, n in enumerate(n_test):
        row = [draw(st.floats(0, 1)) if n_test[k] else None for k in range(t + 1)]
        figures = draw(
            st.dictionaries(st.sampled_from(["norm", "größe"]), st.floats() | st.lists(st.integers(), max_size=2))
        )
        record = record.with_task(
            result(t, n_test=n, accuracy=row, task_restricted_accuracy=row, seconds=draw(st.floats(0)), figures=figures)
        ).with_epoch(EpochResult(task=t, epoch=0, loss=draw(st.floats()), accuracy=0.5, lr=0.1))
    return record


@settings(max_examples=40)
@given(records())
def test_json_there_and_back(record: RunRecord) -> None:
    text = json.dumps(record.to_json(), allow_nan=False)
    assert RunRecord.model_validate(json.loads(text)) == record


@settings(max_examples=40)
@given(records())
def test_summaries_are_those_of_the_matrix(record: RunRecord) -> None:
    summary = summarise(record.matrix())
    assert record.average_accuracy == summary.average_accuracy
    assert record.average_incremental_accuracy_by_image == summary.average_incremental_accuracy_by_image
    assert record.forgetting == summary.forgetting
    assert record.backward_transfer == summary.backward_transfer
    assert record.task_restricted_average_accuracy == summary.average_accuracy


@settings(max_examples=40)
@given(records())
def test_every_list_has_one_entry_a_task(record: RunRecord) -> None:
    n_tasks = len(record.accuracy_matrix)
    lists = [getattr(record, name) for name in RunRecord.model_fields if name.endswith("_per_task")]
    assert {len(entries) for entries in [*lists, record.tasks]} == {n_tasks}


def test_costs_of_the_whole_run() -> None:
    record = RunRecord(recipe=RECIPE)
    record = record.with_task(result(0, peak_memory_bytes=9, trainable_parameters=5, stored_bytes=1, seconds=2.0))
    record = record.with_task(result(1, peak_memory_bytes=7, trainable_parameters=6, stored_bytes=2))
    assert (record.peak_memory_bytes, record.trainable_parameters, record.stored_bytes) == (9, 6, 2)
    assert record.seconds_per_task == (2.0, None)


def test_keys_of_the_contract() -> None:
    document = RunRecord(recipe=RECIPE).with_task(result(0)).to_json()
    assert document["schema"] == 1
    assert document["recipe"]["method"]["name"] == "sd_lora"
    assert {
        *("status", "accuracy_matrix", "average_accuracy", "average_incremental_accuracy", "forgetting", "versions"),
        *(
            "seconds_per_task",
            "step_milliseconds_per_task",
            "peak_memory_bytes",
            "trainable_parameters",
            "stored_bytes",
        ),
        *("seed", "command", "started", "finished", "device", "backbone", "dataset", "tasks", "epochs", "notes", "id"),
    } <= set(document)
    assert document["dataset"]["n_test"] == [4]
    assert document["tasks"] == [["class 0"]]


def test_what_is_as_usual_is_no_key_that_an_older_release_would_refuse() -> None:
    assert not {"thumbnails", "inference_passes"} & RunRecord(recipe=RECIPE).to_json().keys()
    twice = RunRecord(recipe=RECIPE, inference_passes=2).to_json()
    assert RunRecord.model_validate(twice).inference_passes == 2


def test_a_stream_announced_ahead_is_kept() -> None:
    dataset = DatasetRecord(name="digits", n_train=(8, 8), n_test=(4, 4))
    record = RunRecord(recipe=RECIPE, dataset=dataset, tasks=(("class 0",), ("class 1",))).with_task(result(0))
    assert record.dataset == dataset
    assert record.tasks == (("class 0",), ("class 1",))
    assert record.average_accuracy == 0.5
    with pytest.raises(UserError, match="announced"):
        record.with_task(result(1, n_test=5))


def test_a_record_that_contradicts_its_matrix_is_refused() -> None:
    document = RunRecord(recipe=RECIPE).with_task(result(0)).to_json()
    for change in ({"average_accuracy": 0.51}, {"forgetting": 0.0}, {"average_accuracy_by_image": None}):
        with pytest.raises(ValidationError, match=next(iter(change))):
            RunRecord.model_validate({**document, **change})


def test_percent_is_refused() -> None:
    with pytest.raises(ValidationError):
        result(0, accuracy=[50.0])


def test_nan_never_enters_the_document() -> None:
    record = RunRecord(recipe=RECIPE).with_task(result(0, seconds=math.inf, figures={"norms": [1.0, math.nan]}))
    record = record.with_epoch(EpochResult(task=0, epoch=0, loss=math.nan))
    document = record.to_json()
    assert document["figures_per_task"] == [{"norms": [1.0, None]}]
    assert document["seconds_per_task"] == [None]
    assert document["epochs"][0]["loss"] is None
    json.dumps(document, allow_nan=False)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="accurracy"):
        RunRecord.model_validate({"recipe": RECIPE, "accurracy": 1})


def test_an_end_says_when_and_why() -> None:
    record = RunRecord(recipe=RECIPE).with_note("slow disk").ended("failed", failure="loss is not finite")
    assert (record.status, record.failure, record.notes) == ("failed", "loss is not finite", ("slow disk",))
    assert record.finished is not None
    assert record.finished.endswith("+00:00")


@pytest.mark.parametrize(("recipe", "names"), [(RECIPE, ("digits", "sd_lora")), ({}, ("unnamed", "unknown"))])
def test_names(recipe: dict[str, Any], names: tuple[str, str]) -> None:
    record = RunRecord(recipe=recipe)
    assert (record.recipe_name, record.method) == names
