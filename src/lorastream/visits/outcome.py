"""On what terms a visit is made, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorastream.training.learn import Learnt
from lorastream.training.settings import TrainingSettings
from lorastream.visits.gate import Accuracies, mean
from lorastream.visits.material import BROKEN_SHARE, HELD_OUT
from lorastream.visits.names import SameClass
from lorastream.visits.requirements import Requirement, Verdict, parse


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms a visit is made.

    Attributes:
        same_class: what happens to classes that are known already; see `names.call`.
        held_out: part of each class that is held out for the figures, from 0 to below 1.
        broken_share: largest share of broken files, 0 to 1.
        require: what must hold for the update to be taken over.
        evaluate_on: a folder of old classes to measure them on, in place of the stored statistics.
        cache: folder of decoded images; None for the usual one.
        settings: of the training, by name, over those chosen by the amount of data.
        states: a folder for what the visit has come to, so that it can be gone on with: `resume` in the model's
            folder; None: nothing is kept.
        resume: go on with what is kept there, if anything is.
    """

    same_class: SameClass = "refuse"
    held_out: float = HELD_OUT
    broken_share: float = BROKEN_SHARE
    require: tuple[Requirement, ...] = ()
    evaluate_on: Path | None = None
    cache: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    states: Path | None = None
    resume: bool = False


def terms(
    *,
    require: str | Sequence[str] | None = None,
    evaluation: str | Path | None = None,
    same_class: SameClass = "refuse",
    held_out: float = HELD_OUT,
    broken_share: float = BROKEN_SHARE,
    cache: Path | None = None,
    states: Path | None = None,
    resume: bool = False,
    **settings: Any,  # noqa: ANN401 (each setting has its own)
) -> Terms:
    """Return terms from what `Learner.learn` is given; what is no term is a setting of the training.

    Raises:
        DataError: a requirement is not of its form.
    """
    return Terms(
        same_class=same_class,
        held_out=held_out,
        broken_share=broken_share,
        require=parse([require] if isinstance(require, str) else require or ()),
        evaluate_on=None if evaluation is None else Path(evaluation).expanduser(),
        cache=cache,
        settings=settings,
        states=states,
        resume=resume,
    )


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What came of a visit. Accuracies are in [0, 1], over all classes that the model knows.

    Attributes:
        source: the folder or dataset.
        classes: that are new, by the names that the model has for them.
        again: known classes that were taught more.
        n_train: images learnt from.
        n_held_out: images held out for the figures.
        not_held_out: classes of which nothing is held out.
        broken: files that could not be read, each with the reason.
        notes: on files that were passed over.
        settings: of the training.
        learnt: what learning took.
        new: accuracy on the held-out images, by class.
        old_before: accuracy on the old classes before the visit, by class.
        old: the same after it.
        old_measured_on: `feature statistics`, or the folder; None where there was nothing to measure on.
        verdicts: on what was required.
        bytes_added: how much larger the stored model became.
    """

    source: str
    classes: tuple[str, ...]
    again: tuple[str, ...]
    n_train: int
    n_held_out: int
    not_held_out: tuple[str, ...]
    broken: tuple[str, ...]
    notes: tuple[str, ...]
    settings: TrainingSettings
    learnt: Learnt
    new: Accuracies
    old_before: Accuracies
    old: Accuracies
    old_measured_on: str | None
    verdicts: tuple[Verdict, ...]
    bytes_added: int

    @property
    def accuracy_new(self) -> float | None:
        """Mean over the classes of this visit; None where nothing was held out."""
        return mean(self.new)

    @property
    def accuracy_old(self) -> float | None:
        """Mean over the old classes after the visit; None where there are none, or nothing to measure on."""
        return mean(self.old)

    @property
    def old_drop(self) -> float | None:
        """How much the mean over the old classes fell, in [-1, 1]."""
        before, after = mean(self.old_before), mean(self.old)
        return None if before is None or after is None else before - after

    @property
    def is_accepted(self) -> bool:
        """Whether all that was required holds."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def suffered(self) -> list[tuple[str, float, float]]:
        """Old classes that lost accuracy, with that before and after; the largest loss first."""
        pairs = [(name, before, self.old[name]) for name, before in self.old_before.items() if self.old[name] < before]
        return sorted(pairs, key=lambda entry: entry[2] - entry[1])

    def step(self) -> dict[str, Any]:
        """Return the visit as the table `step` of a manifest."""
        return {
            "kind": "learn",
            "source": self.source,
            "classes": list(self.classes),
            "again": list(self.again),
            "images": self.n_train,
            "held_out": self.n_held_out,
            "broken": len(self.broken),
            "accuracy_new": self.accuracy_new,
            "accuracy_old_before": mean(self.old_before),
            "accuracy_old": self.accuracy_old,
            "old_measured_on": self.old_measured_on,
            "required": [str(verdict.requirement) for verdict in self.verdicts],
            "bytes_added": self.bytes_added,
            "settings": self.settings.model_dump(mode="json"),
            "accuracy_of_class": self.new,
            "accuracy_of_old_class": self.old,
        }


def joined(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return one table `step` for visits that are saved together; None of none. What was measured is the last one's."""
    if len(steps) < 2:  # noqa: PLR2004 (one is what it is)
        return dict(steps[0]) if steps else None
    lists = {key: [entry for step in steps for entry in step[key]] for key in ("classes", "again")}
    sums = {key: sum(step[key] for step in steps) for key in ("images", "held_out", "broken", "bytes_added")}
    of_class = {name: value for step in steps for name, value in step["accuracy_of_class"].items()}
    source = ", ".join(str(step["source"]) for step in steps)
    return {**steps[-1], **lists, **sums, "source": source, "accuracy_of_class": of_class}
