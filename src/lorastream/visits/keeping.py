"""The states of a visit: written as it goes on, and gone on from by the same visit alone."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from lorastream.errors import CheckpointError, RunError
from lorastream.runs.unfinished import check_same
from lorastream.training.events import Note
from lorastream.training.resume import Keeper, whole
from lorastream.training.settings import TrainingSettings
from lorastream.training.states import State, States, digest_of
from lorastream.visits.material import Material
from lorastream.visits.outcome import Terms
from lorastream.visits.pupil import Pupil
from lorastream.visits.unfinished import manifest_hash


@contextmanager
def keeping(pupil: Pupil, material: Material, settings: TrainingSettings, terms: Terms) -> Generator[Keeper | None]:
    """Give what keeps the states of a visit, and holds the one to go on from; None where none are wanted.

    What the model was before is not written again: it lies in its folder, or is made anew from the same seed.

    Raises:
        CheckpointError: another process is at work there, what is kept is of another visit, or nothing of it is whole.
    """
    if terms.states is None:
        yield None
        return
    is_writer, index = pupil.accelerator.is_main_process, len(pupil.model.task_sizes)
    states = States(terms.states, tell=lambda text: pupil.listen(Note(text=text)))
    visit = _identity(pupil, material, settings, terms)
    with states.held() if is_writer else nullcontext():
        with pupil.accelerator.main_process_first():
            found = states.newest() if terms.resume else None
        task: State | None = None
        if found is not None:
            check_same(terms.states.parent, found.task.facts["visit"], visit, of="visit")
            task = found.task
        elif is_writer:
            manifest = manifest_hash(terms.states.parent)
            task = _begun(states, {"index": index, "visit": visit, "manifest": manifest})
        yield Keeper(
            states,
            task if is_writer else None,
            progress=None if found is None else found.progress,
            every=settings.checkpoint_every,
            index=index,
        )


def _begun(states: States, facts: Mapping[str, Any]) -> State:
    """Write the first state of a visit; a place that cannot be written to is the user's to mend, as for the model."""
    try:
        return states.write_task(facts, {})
    except RunError as error:
        raise CheckpointError.of(error.faults) from error


def _identity(pupil: Pupil, material: Material, settings: TrainingSettings, terms: Terms) -> dict[str, Any]:
    """Return what two sittings of one visit have in common."""
    return {
        "source": material.source,
        "images": material.train.fingerprint,
        "held_out": terms.held_out,
        "same_class": terms.same_class,
        "method": pupil.method_name,
        "seed": pupil.randomness.seed,
        "backbone": pupil.model.backbone.identity.sha256,
        "model": _digest(pupil),
        "training": settings.model_dump(mode="json"),
    }


def _digest(pupil: Pupil) -> str:
    """Return a hash of all that the pupil has learnt so far."""
    facts, tensors = whole(pupil.model, pupil.method)
    return digest_of(repr(sorted(facts.items())), tensors)
