"""Run a recipe: a stream of tasks learnt one after another, every class evaluated after each, all of it recorded."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from lorastream import processes
from lorastream.backbones.backbone import Backbone
from lorastream.data.images import Dataset
from lorastream.data.stream import Stream
from lorastream.data.task import Task
from lorastream.errors import LorastreamError
from lorastream.learner import Learner
from lorastream.methods.protocol import hyper_parameters
from lorastream.recipes import build
from lorastream.recipes.schema import Recipe
from lorastream.runs import environment, store, unfinished
from lorastream.runs.answers import CalibrationRecord, ConfusionRecord
from lorastream.runs.record import (
    BackboneRecord,
    DatasetRecord,
    Device,
    EpochResult,
    RunRecord,
    TaskResult,
    now,
)
from lorastream.runs.thumbnails import Thumbnail, remove_old
from lorastream.training.device import join_processes
from lorastream.training.evaluate import Evaluation
from lorastream.training.events import Listener, Note, Preparing, nobody
from lorastream.training.learn import Learnt
from lorastream.training.mistaken import keep_mistaken
from lorastream.training.sitting import Sitting
from lorastream.training.states import States

MODEL = "model"


def run(
    recipe: Recipe,
    folder: Path | None = None,
    *,
    root: Path = Path("runs"),
    dataset: Dataset | None = None,
    backbone: Backbone | None = None,
    cache: Path | None = None,
    listen: Listener = nobody,
    recorded: Callable[[RunRecord, Path], None] = lambda _record, _folder: None,
    resume: bool = False,
    thumbnails: bool = False,
) -> tuple[RunRecord, Path]:
    """Run a recipe of one method and one seed.

    Args:
        recipe: as `recipes.load.load` gives it.
        folder: where the record and the model go; `<root>/<recipe>/<method>/<seed>-<id>` by default.
        root: of the default folder.
        dataset: images in place of the recipe's own.
        backbone: in place of the recipe's own; it belongs to the run afterwards.
        cache: where decoded images are kept.
        listen: told of what goes on.
        recorded: told by the main process of every record that was written, with its folder: at the beginning, after
            each task and at the end.
        resume: go on with the run that was stopped in `folder`, or with the newest one of this recipe below `root`; to
            the same bytes as if it had not been stopped. One that is finished is given back as it is; where there is
            none, one begins.
        thumbnails: keep small pictures of test images that were mistaken beside the record, which names them.

    Returns:
        The record and the folder that it was written to, with the model in `folder/model`.

    Raises:
        UserError: the recipe cannot be built, `folder` holds a run already, or is resumed with another recipe.
        RunError: the loss is not finite; what was learnt before is kept.
        KeyboardInterrupt: it was interrupted; the record says so and holds every task that was learnt.
    """
    build.check(recipe)
    if resume:
        join_processes()
        folder, ended = processes.by_the_first(lambda: _sought(recipe, folder, root))
        if folder is not None and ended is not None:
            return ended, folder
    images = dataset or build.dataset(recipe)
    options: dict[str, Any] = recipe.method.hyperparameters
    learner = Learner(
        backbone or build.backbone(recipe),
        recipe.method.name,
        training=recipe.training,
        transforms=build.transform_config(recipe),
        seed=recipe.seed,
        listen=listen,
        **options,
    )
    with learner.accelerator.main_process_first():
        stream = build.stream(
            recipe,
            images,
            learner.transforms,
            cache=cache,
            progress=lambda done, total: listen(Preparing(done=done, total=total)),
        )
    record = _begin(recipe, learner, images, stream)
    folder = processes.by_the_first(lambda: _claim(folder, root, record, resume=resume))
    sitting = Sitting(
        folder, learner.model, learner.method, learner.accelerator, tell=lambda text: listen(Note(text=text))
    )
    with sitting.held():
        record = sitting.begin(record, resume=resume)
        record = _learn_all(learner, stream, record, folder, sitting, recorded, thumbnails=thumbnails)
    return record, folder


def _learn_all(
    learner: Learner,
    stream: Stream,
    record: RunRecord,
    folder: Path,
    sitting: Sitting,
    recorded: Callable[[RunRecord, Path], None],
    *,
    thumbnails: bool,
) -> RunRecord:
    """Learn the tasks that are still to do; write model and record after each, and the record at the end."""
    try:
        # What a kill left of both is written again; of a run that begins, the record alone.
        _write(learner, record, folder, recorded)
        for task in stream:
            if task.index >= len(record.accuracy_matrix):
                before = record
                record = _one_task(learner, task, stream, record, sitting, thumbnails=thumbnails)
                sitting.learnt(record)
                _write(learner, record, folder, recorded)
                if learner.accelerator.is_main_process:
                    remove_old(folder, before.thumbnails, record.thumbnails)
        record = record.ended("finished")
    except KeyboardInterrupt:
        record = record.ended("interrupted")
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, LorastreamError) else f"{type(error).__name__}: {error}"
        record = record.ended("failed", failure=reason)
        raise
    finally:
        if learner.accelerator.is_main_process:
            store.write(record, folder)
            recorded(record, folder)
    sitting.end()
    return record


def _write(learner: Learner, record: RunRecord, folder: Path, recorded: Callable[[RunRecord, Path], None]) -> None:
    if learner.accelerator.is_main_process:
        if record.accuracy_matrix:
            learner.save(folder / MODEL)
        store.write(record, folder)
        recorded(record, folder)


def _sought(recipe: Recipe, folder: Path | None, root: Path) -> tuple[Path | None, RunRecord | None]:
    """Return the folder of the run to go on with, if there is one, and its record where nothing is left to do.

    States that a kill left behind at its very end go.
    """
    folder = folder or unfinished.latest(root, recipe.resolved(), recipe.method.name, recipe.seed)
    if folder is None or unfinished.status_of(folder) != "finished":
        return folder, None
    record = store.read(folder)
    unfinished.check_same(folder, record.recipe, recipe.resolved())
    States(folder / unfinished.RESUME).clear()
    return folder, record


def _one_task(
    learner: Learner, task: Task, stream: Stream, record: RunRecord, sitting: Sitting, *, thumbnails: bool
) -> RunRecord:
    """Learn a task, evaluate every class seen, and return the record with both."""
    exemplar_free = learner.method.traits.exemplar_free
    keeper = sitting.keeper(every=learner.training.checkpoint_every)
    learnt = learner.learn(task if exemplar_free else stream.joined(task.index), keeper=keeper)
    evaluation = learner.evaluate(stream)
    for epoch in learnt.epochs:
        record = record.with_epoch(
            EpochResult(task=task.index, epoch=epoch.epoch, loss=epoch.loss, accuracy=epoch.accuracy, lr=epoch.lr)
        )
    for note in learnt.notes:
        record = record.with_note(note)
    place = sitting.folder if learner.accelerator.is_main_process else None
    kept = keep_mistaken(evaluation, stream, place) if thumbnails else ()
    return record.with_task(_result(task, learnt, evaluation, kept))


def _result(task: Task, learnt: Learnt, evaluation: Evaluation, kept: tuple[Thumbnail, ...]) -> TaskResult:
    return TaskResult(
        classes=task.class_names,
        n_train=len(task.train),
        n_test=len(task.test),
        accuracy=evaluation.accuracy,
        task_restricted_accuracy=evaluation.task_restricted_accuracy,
        seconds=learnt.seconds,
        evaluation_seconds=evaluation.seconds,
        step_milliseconds=learnt.step_milliseconds,
        peak_memory_bytes=learnt.peak_memory_bytes,
        trainable_parameters=learnt.trainable_parameters,
        stored_bytes=learnt.stored_bytes,
        figures=learnt.figures,
        confusion=ConfusionRecord.of(evaluation.confusion, evaluation.classes),
        calibration=CalibrationRecord.of(evaluation.reliability),
        thumbnails=kept,
    )


def _begin(recipe: Recipe, learner: Learner, images: Dataset, stream: Stream) -> RunRecord:
    network, identity = learner.model.backbone.network, learner.model.backbone.identity
    return RunRecord(
        recipe=recipe.resolved(),
        hyper_parameters=TypeAdapter(dict[str, Any]).dump_python(hyper_parameters(learner.method), mode="json"),
        command=_command(),
        started=now(),
        seed=recipe.seed,
        inference_passes=learner.method.traits.inference_passes,
        versions=environment.versions(),
        device=_device(learner, recipe),
        backbone=BackboneRecord(
            name=recipe.backbone.name,
            tag=identity.name,
            sha256=identity.sha256,
            parameters=sum(p.numel() for p in network.parameters()),
            image_size=identity.image_size,
        ),
        dataset=DatasetRecord(
            name=images.name,
            fingerprint=stream.fingerprint,
            n_train=tuple(len(task.train) for task in stream),
            n_test=tuple(len(task.test) for task in stream),
        ),
        tasks=tuple(task.class_names for task in stream),
        notes=images.notes,
    )


def _command() -> str | None:
    """Return the command line that repeats the run; None where it was started from Python."""
    started = Path(sys.argv[0])
    if started.name != "lorastream" and started.parts[-2:] != ("lorastream", "__main__.py"):
        return None
    return shlex.join(["lorastream", *sys.argv[1:]])


def _device(learner: Learner, recipe: Recipe) -> Device:
    device = learner.accelerator.device
    return Device(
        kind=device.type,
        name=torch.cuda.get_device_name(device) if device.type == "cuda" else environment.processor(),
        threads=torch.get_num_threads(),
        processes=learner.accelerator.num_processes,
        precision=recipe.training.precision,
    )


def _claim(folder: Path | None, root: Path, record: RunRecord, *, resume: bool) -> Path:
    """Return the folder of a run, made anew; one that holds a run is left alone, or resumed."""
    if folder is None:
        return store.new_folder(root, record)
    if resume and (unfinished.status_of(folder) or unfinished.is_unfinished(folder)):
        return folder
    return store.claim(folder)
