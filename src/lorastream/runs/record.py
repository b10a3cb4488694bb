"""RunRecord: what one run was and what came out of it, as one JSON document.

It is the contract between training, which writes it, and reports and the studio, which read nothing else. Accuracies
are fractions, times seconds, sizes bytes. The summaries are computed from the accuracy matrix by `with_task` alone, and
a record whose summaries disagree with its matrix is refused.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, JsonValue, model_validator

from lorastream.errors import UserError
from lorastream.metrics import AccuracyMatrix, summarise
from lorastream.metrics.summaries import average_accuracy
from lorastream.runs.answers import CalibrationRecord, ConfusionRecord
from lorastream.runs.document import Count, Document, Fraction, Seconds
from lorastream.runs.thumbnails import Thumbnail

SCHEMA = 1

T = TypeVar("T")

Status = Literal["running", "finished", "interrupted", "failed"]
Row = tuple[Fraction | None, ...]


class Device(Document):
    """What the run ran on."""

    kind: str = Field(default="cpu", description="cpu, cuda, mps, ...")
    name: str | None = Field(default=None, description="name of the processor or the accelerator")
    threads: Count | None = Field(default=None, description="threads torch computes with")
    processes: int = Field(default=1, ge=1, description="processes that shared the training")
    precision: str = Field(default="fp32", description="fp32, bf16 or fp16")


class BackboneRecord(Document):
    """The frozen backbone."""

    name: str
    tag: str | None = Field(default=None, description="exact name of the pretrained weights")
    sha256: str | None = Field(default=None, description="hash of the weights")
    parameters: Count | None = None
    image_size: Count | None = Field(default=None, description="side of the square input, pixels")


class DatasetRecord(Document):
    """The images: where from, which, how many."""

    name: str
    fingerprint: str | None = Field(
        default=None, description="hash of the images used, as decoded, and of their classes"
    )
    n_train: tuple[Count, ...] = Field(default=(), description="training images per task")
    n_test: tuple[Count, ...] = Field(default=(), description="test images per task")


class EpochResult(Document):
    """One pass over a task's training images."""

    task: Count
    epoch: Count = Field(description="from 0 within the task")
    loss: float | None = Field(default=None, description="mean over the epoch; None where it was not finite")
    accuracy: Fraction | None = Field(default=None, description="on the training images, as the loss saw them")
    lr: float | None = Field(default=None, description="learning rate at the end of the epoch")


class TaskResult(Document):
    """What is known once a task has been learnt and every task seen so far evaluated."""

    classes: tuple[str, ...] = Field(min_length=1, description="names of the task's classes")
    n_train: Count = Field(description="training images of the task")
    n_test: Count = Field(description="test images of the task")
    accuracy: Row = Field(description="accuracy on each task seen so far, this one last")
    task_restricted_accuracy: Row | None = Field(
        default=None, description="the same, choosing among the own task's classes only"
    )
    seconds: Seconds | None = Field(default=None, description="training time")
    evaluation_seconds: Seconds | None = None
    step_milliseconds: Seconds | None = Field(default=None, description="median time of an optimiser step")
    peak_memory_bytes: Count | None = None
    trainable_parameters: Count | None = None
    stored_bytes: Count | None = Field(
        default=None, description="what the method adds to the backbone on disk, all tasks"
    )
    figures: dict[str, JsonValue] = Field(
        default_factory=dict, description="what the method reports: magnitudes, ranks, ..."
    )
    confusion: ConfusionRecord | None = None
    calibration: CalibrationRecord | None = None
    thumbnails: tuple[Thumbnail, ...] = ()


class RunRecord(Document):
    """One run; see the module. Lists named `..._per_task` and the matrices have one entry for each task learnt."""

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, description="version of this document's form")
    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:8], min_length=1)
    recipe: dict[str, JsonValue] = Field(description="the resolved recipe; recipe.method.name is the method")
    hyper_parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="of the method, all of them: those of the recipe, of a preset, and the defaults",
    )
    status: Status = "running"
    failure: str | None = Field(default=None, description="why the run failed")
    command: str | None = Field(default=None, description="the command that repeats the run")
    started: str | None = Field(default=None, description="ISO 8601 time, UTC")
    finished: str | None = Field(default=None, description="ISO 8601 time, UTC")
    seed: Count = 0
    inference_passes: int = Field(default=1, ge=1, description="forward passes of the backbone for one prediction")
    versions: dict[str, str | None] = Field(
        default_factory=dict, description="python, torch, timm, ..., lorastream, commit"
    )
    device: Device = Field(default_factory=Device)
    backbone: BackboneRecord | None = None
    dataset: DatasetRecord | None = None

    tasks: tuple[tuple[str, ...], ...] = Field(default=(), description="class names of each task, in order of arrival")
    accuracy_matrix: tuple[Row, ...] = ()
    task_restricted_accuracy_matrix: tuple[Row, ...] = Field(default=(), description="empty where it was not measured")

    average_accuracy: Fraction | None = None
    average_accuracy_by_image: Fraction | None = None
    average_incremental_accuracy: Fraction | None = None
    average_incremental_accuracy_by_image: Fraction | None = None
    forgetting: float | None = None
    forgetting_pilot: float | None = None
    backward_transfer: float | None = None
    task_restricted_average_accuracy: Fraction | None = None

    seconds_per_task: tuple[Seconds | None, ...] = ()
    evaluation_seconds_per_task: tuple[Seconds | None, ...] = ()
    step_milliseconds_per_task: tuple[Seconds | None, ...] = ()
    peak_memory_bytes: Count | None = Field(default=None, description="the most of any task")
    peak_memory_bytes_per_task: tuple[Count | None, ...] = ()
    trainable_parameters: Count | None = Field(default=None, description="while the last task was learnt")
    trainable_parameters_per_task: tuple[Count | None, ...] = ()
    stored_bytes: Count | None = Field(default=None, description="what the method adds to the backbone on disk")
    stored_bytes_per_task: tuple[Count | None, ...] = ()
    epochs: tuple[EpochResult, ...] = ()
    figures_per_task: tuple[dict[str, JsonValue], ...] = ()
    confusion: ConfusionRecord | None = Field(default=None, description="of the last evaluation")
    calibration: CalibrationRecord | None = Field(default=None, description="of the last evaluation, not calibrated")
    thumbnails: tuple[Thumbnail, ...] = Field(
        default=(), description="pictures of images mistaken in the last evaluation; none unless the run was asked to"
    )
    notes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Name of the method, or "unknown"."""
        method = self.recipe.get("method")
        return str(method.get("name", "unknown")) if isinstance(method, dict) else "unknown"

    @property
    def recipe_name(self) -> str:
        """Name of the recipe, or "unnamed"."""
        return str(self.recipe.get("name") or "unnamed")

    def matrix(self) -> AccuracyMatrix:
        """Return the accuracy matrix."""
        return _matrix(self.accuracy_matrix, self.dataset)

    def task_restricted_matrix(self) -> AccuracyMatrix:
        """Return the accuracy matrix of choosing among the own task's classes only; without rows where not measured."""
        return _matrix(self.task_restricted_accuracy_matrix, self.dataset)

    def with_task(self, result: TaskResult) -> RunRecord:
        """Return the record after one more task: its row, its costs, and every summary computed anew.

        Raises:
            UserError: the result does not fit what the record already says of the stream.
        """
        t = len(self.accuracy_matrix)
        dataset = self.dataset or DatasetRecord(name="unknown")
        counts = {
            "n_train": _with_entry(dataset.n_train, t, result.n_train, "training images"),
            "n_test": _with_entry(dataset.n_test, t, result.n_test, "test images"),
        }
        restricted = self.task_restricted_accuracy_matrix
        changes: dict[str, Any] = {
            "dataset": {**dataset.model_dump(), **counts},
            "tasks": _with_entry(self.tasks, t, result.classes, "classes"),
            "accuracy_matrix": (*self.accuracy_matrix, result.accuracy),
            "task_restricted_accuracy_matrix": restricted
            if result.task_restricted_accuracy is None
            else (*restricted, result.task_restricted_accuracy),
            "figures_per_task": (*self.figures_per_task, result.figures),
            "confusion": result.confusion,
            "calibration": result.calibration,
            "thumbnails": result.thumbnails,
        }
        changes |= self._with_costs(result)
        return self._changed(**changes, **_summaries({**self.model_dump(), **changes}))

    def with_epoch(self, result: EpochResult) -> RunRecord:
        """Return the record after one more epoch."""
        return self.model_copy(update={"epochs": (*self.epochs, result)})

    def with_note(self, note: str) -> RunRecord:
        """Return the record with one more remark."""
        return self.model_copy(update={"notes": (*self.notes, note)})

    def ended(self, status: Status, *, failure: str | None = None) -> RunRecord:
        """Return the record of a run that stopped now: finished, interrupted or failed, and why."""
        return self._changed(status=status, failure=failure, finished=now())

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values, keys in the order of this class."""
        # An older lorastream refuses a key that it does not know: these are there only where they say something.
        usual = {"thumbnails": (), "inference_passes": 1}
        silent = {name for name, value in usual.items() if getattr(self, name) == value}
        return self.model_dump(mode="json", by_alias=True, exclude=silent)

    def _with_costs(self, result: TaskResult) -> dict[str, Any]:
        peaks = [*self.peak_memory_bytes_per_task, result.peak_memory_bytes]
        return {
            "seconds_per_task": (*self.seconds_per_task, result.seconds),
            "evaluation_seconds_per_task": (*self.evaluation_seconds_per_task, result.evaluation_seconds),
            "step_milliseconds_per_task": (*self.step_milliseconds_per_task, result.step_milliseconds),
            "peak_memory_bytes": max((peak for peak in peaks if peak is not None), default=None),
            "peak_memory_bytes_per_task": tuple(peaks),
            "trainable_parameters": result.trainable_parameters,
            "trainable_parameters_per_task": (*self.trainable_parameters_per_task, result.trainable_parameters),
            "stored_bytes": result.stored_bytes,
            "stored_bytes_per_task": (*self.stored_bytes_per_task, result.stored_bytes),
        }

    def _changed(self, **changes: Any) -> RunRecord:  # noqa: ANN401 the fields have as many types as names
        return RunRecord.model_validate({**self.model_dump(), **changes})

    @model_validator(mode="after")
    def _every_row_is_of_a_task(self) -> Self:
        if len(self.tasks) < len(self.accuracy_matrix):
            raise UserError(
                f"record {self.id}: tasks",
                expected=f"the classes of each of {len(self.accuracy_matrix)} tasks that were learnt",
                got=f"those of {len(self.tasks)}",
                next_step="the record was edited by hand or is damaged: run it again",
            )
        return self

    @model_validator(mode="after")
    def _summaries_agree(self) -> Self:
        for name, expected in _summaries(self.model_dump()).items():
            got = getattr(self, name)
            if not _agree(got, expected):
                raise UserError(
                    f"record {self.id}: {name}",
                    expected=f"{expected}, which is what the accuracy matrix says",
                    got=f"{got}",
                    next_step="the record was edited by hand or is damaged: run it again",
                )
        return self


def now() -> str:
    """Return this instant as ISO 8601 text in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _matrix(rows: tuple[Row, ...], dataset: DatasetRecord | None) -> AccuracyMatrix:
    n_test = dataset.n_test[: len(rows)] if dataset else ()
    return AccuracyMatrix(rows=rows, n_test=n_test)


def _summaries(record: Mapping[str, Any]) -> dict[str, float | None]:
    dataset = DatasetRecord.model_validate(record["dataset"]) if record["dataset"] else None
    restricted = _matrix(record["task_restricted_accuracy_matrix"], dataset)
    return {
        **asdict(summarise(_matrix(record["accuracy_matrix"], dataset))),
        "task_restricted_average_accuracy": average_accuracy(restricted),
    }


def _with_entry(entries: tuple[T, ...], t: int, entry: T, noun: str) -> tuple[T, ...]:
    """Return the entries with one for task t: added where the stream was not known ahead, else the one there."""
    if len(entries) == t:
        return (*entries, entry)
    if len(entries) > t and entries[t] == entry:
        return entries
    raise UserError(
        f"record: {noun} of task {t}",
        expected=f"{entries[t]}, as announced when the run began"
        if len(entries) > t
        else f"an entry for each of {t} tasks",
        got=f"{entry}",
        next_step="give every task once, in the order of the stream",
    )


def _agree(got: float | None, expected: float | None) -> bool:
    if got is None or expected is None:
        return got is expected
    return math.isclose(got, expected, abs_tol=1e-9)
