"""A finished run, opened again: its record, its recipe, its images, and its model after every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from lorastream.analyses.opening import MODEL, finished_record
from lorastream.analyses.options import Progress, silence
from lorastream.analyses.states import State, kept_states, replayed_states
from lorastream.data.stream import Stream
from lorastream.errors import BackboneError, DataError, MethodError, UserError
from lorastream.learner import Learner
from lorastream.methods.protocol import load_learnt_state
from lorastream.recipes import build
from lorastream.recipes.faults import Origin, faults_of
from lorastream.recipes.load import parse_overrides
from lorastream.recipes.schema import Recipe
from lorastream.runs import store
from lorastream.runs.record import RunRecord
from lorastream.training.checkpoint import read_model
from lorastream.training.events import Listener, nobody

MOVED = (("data", "root"), ("backbone", "weights"))
"""The keys of a recipe that say where something is; all others say what the run was."""


class FinishedRun:
    """A run that ended, in its folder.

    Args:
        folder: as `lorastream run` wrote it, with `record.json` and `model`.
        changes: `data.root=FOLDER` and `backbone.weights=FILE`, for what was moved since.
        progress: told how far things are.

    Raises:
        CheckpointError: no record there, or of a run that did not finish, or without a model.
        RecipeError: a change is none of those two.
    """

    def __init__(self, folder: Path, changes: Sequence[str] = (), *, progress: Progress = silence) -> None:
        self.record = finished_record(folder)
        self.folder, self.progress = folder if folder.is_dir() else folder.parent, progress
        self.recipe = _recipe(self.record, folder, changes)
        self.facts, self.parts = read_model(self.folder / MODEL)

    @property
    def n_tasks(self) -> int:
        """How many tasks it learnt."""
        return len(self.record.accuracy_matrix)

    def learner(self, method: str | None = None, *, listen: Listener = nobody, **options: Any) -> Learner:  # noqa: ANN401 (each method has its own)
        """Return a learner that knows nothing yet, with the run's backbone, settings and seed.

        Args:
            method: another one, with `options`; None: the run's own.
            listen: told of what goes on.
            **options: hyper-parameters of the other method.

        Raises:
            BackboneError: the backbone is not there, or not the one that the run had.
        """
        recipe = self.recipe
        chosen: dict[str, Any] = options if method else recipe.method.hyperparameters
        try:
            backbone = build.backbone(recipe)
        except BackboneError as error:
            raise _with_hint(error, "backbone.weights=FILE") from error
        if self.record.backbone is not None and self.record.backbone.sha256:
            backbone.check_is(self.record.backbone.sha256, where=str(self.folder))
        return Learner(
            backbone,
            method or recipe.method.name,
            training=recipe.training,
            transforms=build.transform_config(recipe),
            seed=recipe.seed,
            listen=listen,
            **chosen,
        )

    def after(self, n_tasks: int, *, listen: Listener = nobody) -> Learner:
        """Return a learner as the run's was after so many tasks."""
        learner = self.learner(listen=listen)
        self.put(learner, n_tasks)
        return learner

    def put(self, learner: Learner, n_tasks: int) -> None:
        """Give a learner the weights that the run's had after so many tasks; 0: nothing learnt yet."""
        state = self.states[n_tasks - 1]()
        learner.model.load_tensors(state.parts, state.classes, **self.facts["adapters"])
        load_learnt_state(learner.method, state.parts.get("method", {}))

    @cached_property
    def stream(self) -> Stream:
        """The run's tasks.

        Raises:
            DataError: the images are not where they were.
        """
        learner = self.learner()
        try:
            return build.stream(self.recipe, build.dataset(self.recipe), learner.transforms)
        except DataError as error:
            raise _with_hint(error, "data.root=FOLDER") from error

    @cached_property
    def states(self) -> list[State]:
        """The model after each task: read off the final one where it keeps all, else from a replay of the run.

        Each entry is a function without arguments that reads it.
        """
        kept = kept_states(self.learner().method, self.record, self.recipe, self.facts, self.parts)
        return kept or replayed_states(self.recipe, self.record, self.folder, self.parts, self.progress)

    def at_least(self, n_tasks: int, what: str) -> None:
        """See that the run has so many tasks.

        Raises:
            UserError: it has fewer.
        """
        if self.n_tasks < n_tasks:
            raise MethodError(
                f"analysis {what}, {self.folder}",
                expected=f"a run of at least {n_tasks} tasks",
                got=f"{self.n_tasks}",
                next_step=f"run a stream of more: stream.tasks={max(n_tasks, 5)}",
            )


def _recipe(record: RunRecord, folder: Path, changes: Sequence[str]) -> Recipe:
    parsed, faults = parse_overrides(changes)
    if faults:
        raise UserError.of(faults)
    document: dict[str, Any] = {key: value for key, value in record.recipe.items() if value is not None}
    for path, value in parsed:
        if path not in MOVED:
            raise UserError(
                f"--set {'.'.join(path)}",
                expected=f"{' or '.join('.'.join(key) for key in MOVED)}: where something is now",
                got=".".join(path),
                next_step="leave it out; with another setting it would be another run: lorastream run",
            )
        section, key = path
        document[section] = {**cast("dict[str, Any]", document.get(section) or {}), key: value}
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise UserError.of(faults_of(error, Origin(file=str(folder / store.RECORD)))) from error


def _with_hint(error: UserError, change: str) -> UserError:
    """Return the same error, that says how to tell where the thing is now."""
    hint = f"say where it is now with --set {change}"
    return type(error).of([replace(f, next_step=f"{f.next_step}; or {hint}") for f in error.faults])  # pyright: ignore[reportReturnType]
