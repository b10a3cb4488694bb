"""One sitting of a run: it takes the run up where it was stopped, and keeps what the next one would need."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from lorastream import processes
from lorastream.errors import CheckpointError
from lorastream.files import remove_leftovers
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.runs.record import RunRecord, now
from lorastream.runs.store import RECORD
from lorastream.runs.store import read as read_record
from lorastream.runs.unfinished import RESUME, check_same, stopped_at
from lorastream.training.resume import Keeper, put_back, whole
from lorastream.training.states import Found, State, States


class Sitting:
    """The states of a run, from one process start to its end.

    A task state is written before the model's folder and the record are, and holds all that both are made from. So
    whatever of them a kill leaves behind, the next sitting writes them again from the state.

    Args:
        folder: of the run.
        model: that learns; on resuming it must know nothing yet.
        method: by which.
        accelerator: only its main process writes.
        tell: told in sentences what was found.
    """

    def __init__(
        self,
        folder: Path,
        model: IncrementalClassifier,
        method: Method,
        accelerator: Accelerator,
        *,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.folder, self.model, self.method, self.accelerator, self.tell = folder, model, method, accelerator, tell
        self.states = States(folder / RESUME, tell=tell)
        self.task: State | None = None
        self.progress: State | None = None

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep other runs out of the folder as long as the context lasts.

        Raises:
            CheckpointError: another process is at work there.
        """
        if not self.accelerator.is_main_process:
            yield
            return
        with self.states.held():
            for place in (self.folder, *(path for path in self.folder.iterdir() if path.is_dir())):
                remove_leftovers(place)
            yield

    def begin(self, record: RunRecord, *, resume: bool) -> RunRecord:
        """Begin a run, or put model and method back to where it was stopped.

        Args:
            record: of the run, as it would begin.
            resume: go on with what is kept in the folder, if anything is.

        Returns:
            That record, or the kept one with every task that was learnt.

        Raises:
            CheckpointError: what is kept belongs to another recipe, data or backbone, or is damaged.
        """
        found = processes.by_the_first(self._newest) if resume else None
        if found is None:
            self.learnt(record)
            return record
        kept = RunRecord.model_validate(found.task.facts["record"])
        self._check_same(kept, record)
        put_back(self.model, self.method, found.task)
        # Its tensors are the model's by now.
        self.task = replace(found.task, tensors={}) if self.accelerator.is_main_process else None
        self.progress = found.progress
        where = stopped_at((found.progress or found.task).facts)
        self.tell(f"going on {where}")
        changes = {"recipe": record.recipe, "status": "running", "failure": None, "finished": None}
        return kept.model_copy(update=changes).with_note(f"stopped {where} and gone on with at {now()}")

    def keeper(self, *, every: int | None) -> Keeper:
        """Return what keeps the states of the task that comes next."""
        progress, self.progress = self.progress, None
        return Keeper(self.states, self.task, progress=progress, every=every, index=len(self.model.task_sizes))

    def learnt(self, record: RunRecord) -> None:
        """Keep all that is known between two tasks, with the record so far."""
        if self.accelerator.is_main_process:
            facts, tensors = whole(self.model, self.method)
            self.task = self.states.write_task({**facts, "record": record.to_json()}, tensors)

    def end(self) -> None:
        """Remove the states: the run is finished, and its record says so."""
        if self.accelerator.is_main_process:
            self.states.clear()

    def _newest(self) -> Found | None:
        found = self.states.newest()
        if found is None:
            self._check_nothing_is_lost()
        return found

    def _check_nothing_is_lost(self) -> None:
        if not (self.folder / RECORD).exists():
            return
        learnt = len(read_record(self.folder).accuracy_matrix)
        if learnt:
            raise CheckpointError(
                f"{self.folder}, --resume",
                expected=f"the states of the run in {RESUME}",
                got=f"none, though the record tells of {learnt} tasks: removed, damaged, or of an older release",
                next_step="restore them from a copy, or begin anew in another folder",
            )

    def _check_same(self, kept: RunRecord, record: RunRecord) -> None:
        check_same(self.folder, kept.recipe, record.recipe)
        facts = [
            {
                "data": {"fingerprint": one.dataset.fingerprint if one.dataset else None},
                "backbone": {"sha256": one.backbone.sha256 if one.backbone else None},
            }
            for one in (kept, record)
        ]
        check_same(self.folder, *facts, of="data and the backbone")
