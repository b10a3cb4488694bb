"""A visit: a folder of classes is taught, measured, and taken over or refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from lorastream.data.images import Dataset
from lorastream.data.task import Task, TaskImages
from lorastream.errors import DataError, Fault, MethodError
from lorastream.methods.protocol import learnt_state
from lorastream.training.calibrate import calibrate
from lorastream.training.events import Preparing
from lorastream.training.learn import learn
from lorastream.training.settings import TrainingSettings
from lorastream.visits import gate
from lorastream.visits.defaults import settings_for
from lorastream.visits.gate import Accuracies, UpdateRefusedError
from lorastream.visits.keeping import keeping
from lorastream.visits.material import Material, listed, of_folder, read
from lorastream.visits.names import Roll, call
from lorastream.visits.outcome import Terms, Visit
from lorastream.visits.pupil import Memory, Pupil, images_for
from lorastream.visits.requirements import MEASURES, Measure

STATISTICS = "feature statistics"
_NAMED = 5


def visit(pupil: Pupil, given: str | Path | Dataset, terms: Terms) -> Visit:
    """Teach a pupil the classes of a folder or a dataset.

    Where it ends early, for whatever reason, the pupil is what it was before.

    Raises:
        DataError: the images, or what is required, are not as they must be.
        MethodError: the method cannot learn from this visit's images alone, or not merge classes.
        UpdateRefusedError: what was required does not hold; its `visit` says what came out.
        RunError: the loss is not finite.
        CheckpointError: what is to be gone on with is of another visit, or damaged.
    """
    _check_method(pupil)
    dataset = given if isinstance(given, Dataset) else of_folder(Path(given).expanduser())
    roll = call(dataset.class_names, pupil.model, terms.same_class, method_name=pupil.method_name)
    material = read(
        dataset,
        source=dataset.name if isinstance(given, Dataset) else str(given),
        held_out=terms.held_out,
        broken_share=terms.broken_share,
        seed=pupil.randomness.seed,
        progress=lambda done, total: pupil.listen(Preparing(done=done, total=total)),
    )
    settings = settings_for(pupil.training, pupil.model, pupil.method, len(material.train), terms.settings)
    old = _Old(pupil, terms)
    _check_measurable(terms, material, old)
    memory = Memory.of(pupil)
    try:
        made = _taught(pupil, material, roll, settings, old, terms)
        _check_kept(made)
    except BaseException:
        memory.put_back(pupil)
        raise
    return made


class _Old:
    """The old classes, and how they are measured."""

    def __init__(self, pupil: Pupil, terms: Terms) -> None:
        self.pupil = pupil
        self.names = tuple(pupil.model.class_names)
        self.statistics = copy.copy(pupil.model.statistics)
        self.images: TaskImages | None = None
        if terms.evaluate_on is not None and self.names:
            self.images = gate.images_of_known_classes(pupil, terms.evaluate_on, cache=terms.cache)
        self.measured_on = self._measured_on(terms)
        self.before = self.measure()

    def measure(self) -> Accuracies:
        """Return the accuracy of every old class as the model is now."""
        if self.images is not None:
            return gate.on_images(self.pupil, self.images)
        if self.measured_on is None or self.statistics is None:
            return {}
        return gate.on_statistics(self.pupil.model, self.statistics, self.names, self.pupil.randomness)

    def _measured_on(self, terms: Terms) -> str | None:
        if self.images is not None:
            return str(terms.evaluate_on)
        described = self.statistics is not None and self.statistics.n_classes == len(self.names) > 0
        return STATISTICS if described and not hasattr(self.pupil.method, "predict") else None


def _taught(pupil: Pupil, material: Material, roll: Roll, settings: TrainingSettings, old: _Old, terms: Terms) -> Visit:
    model = pupil.model
    bytes_before = _stored(pupil)
    first = model.n_classes
    held_out = _held_out(pupil, material, roll, terms)
    train = images_for(
        pupil,
        material.train,
        [first + place for place in roll.positions(material.class_names)],
        transform=pupil.transforms[0],
        cache=terms.cache,
    )
    task = Task(index=len(model.task_sizes), class_names=roll.names, first_class=first, train=train, test=held_out)
    with keeping(pupil, material, settings, terms) as keeper:
        learnt = learn(
            model,
            pupil.method,
            task,
            settings,
            accelerator=pupil.accelerator,
            listen=pupil.listen,
            again=roll.again,
            keeper=keeper,
        )
    calibrate(
        model,
        pupil.method,
        held_out,
        accelerator=pupil.accelerator,
        generator=model.randomness.torch("calibration", task.index),
    )
    new, after = gate.on_images(pupil, held_out), old.measure()
    made = Visit(
        source=material.source,
        classes=roll.new,
        again=tuple(roll.again.values()),
        n_train=len(train),
        n_held_out=len(held_out),
        not_held_out=material.not_held_out,
        broken=material.broken,
        notes=material.notes,
        settings=settings,
        learnt=learnt,
        new=new,
        old_before=old.before,
        old=after,
        old_measured_on=old.measured_on,
        verdicts=(),
        bytes_added=_stored(pupil) - bytes_before,
    )
    shares: dict[Measure, float | None] = {
        "new": made.accuracy_new,
        "old": made.accuracy_old,
        "old-drop": made.old_drop,
    }
    return replace(made, verdicts=gate.judge(terms.require, shares))


def _held_out(pupil: Pupil, material: Material, roll: Roll, terms: Terms) -> TaskImages:
    """Return the held-out images with the labels that their classes have once the visit is over."""
    model = pupil.model
    labels = [
        model.class_names.index(roll.again[name]) if name in roll.again else model.n_classes + place
        for place, name in enumerate(roll.names)
    ]
    own = [labels[place] for place in roll.positions(material.class_names)]
    return images_for(pupil, material.held_out, own, transform=pupil.transforms[1], cache=terms.cache)


def _stored(pupil: Pupil) -> int:
    return pupil.model.stored_bytes() + sum(tensor.nbytes for tensor in learnt_state(pupil.method).values())


def _check_method(pupil: Pupil) -> None:
    if not pupil.method.traits.exemplar_free:
        raise MethodError(
            "method.name",
            expected="a method that learns from this visit's images alone",
            got=f"{pupil.method_name}, which needs the images of all visits",
            next_step="choose another, such as sd_lora_plus",
        )


def _check_measurable(terms: Terms, material: Material, old: _Old) -> None:
    """See before hours are spent that all that is required can be measured."""
    faults = [
        Fault(f"--require '{wanted}'", expected, got, step)
        for wanted in terms.require
        for is_amiss, expected, got, step in (
            (
                wanted.measure == "new" and not len(material.held_out),
                "held-out images of the new classes",
                "none",
                "give each class two images or more, and leave --held-out out",
            ),
            (
                wanted.measure != "new" and bool(old.names) and not old.before,
                "stored feature statistics of all old classes, or pictures of them",
                "neither",
                "name a folder of pictures of old classes: --evaluate-on FOLDER",
            ),
        )
        if is_amiss
    ]
    if faults:
        raise DataError.of(faults)


def _check_kept(made: Visit) -> None:
    """Refuse an update that did not keep what was required, and say which classes suffered."""
    lost = [f"{name} {100 * before:.1f} to {100 * after:.1f} %" for name, before, after in made.suffered]
    suffered = f"; lost: {listed(lost, _NAMED)}" if lost else ""
    faults = [
        Fault(
            f"learn {made.source}",
            f"{verdict.requirement} ({MEASURES[verdict.requirement.measure][1]})",
            f"{verdict.value or 0.0:.1f}{suffered}",
            "the model is as it was; teach more images, fewer epochs, or require less",
        )
        for verdict in made.verdicts
        if not verdict.holds
    ]
    if faults:
        raise UpdateRefusedError(faults, made)
