"""Which of a visit's classes are new, and what happens to those whose names are known already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lorastream.data.images import check_class_names
from lorastream.errors import DataError, MethodError
from lorastream.heads import RandomFeatureHead, TrainedHead
from lorastream.heads.full_covariance import FullCovariance
from lorastream.model import IncrementalClassifier
from lorastream.visits.material import listed

SameClass = Literal["refuse", "merge", "new"]
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Roll:
    """The classes of a visit, those that are new first.

    Attributes:
        folder_names: as their folders are called, in the order of the task.
        names: as they are called while they are learnt.
        again: the name while learning of each class that is known -> the name that it is known by; the last of `names`.
    """

    folder_names: tuple[str, ...]
    names: tuple[str, ...]
    again: Mapping[str, str]

    @property
    def new(self) -> tuple[str, ...]:
        """The classes that the model does not know yet."""
        return tuple(name for name in self.names if name not in self.again)

    def positions(self, folder_names: Sequence[str]) -> list[int]:
        """Return for each class folder its place in the task."""
        return [self.folder_names.index(name) for name in folder_names]


def call(class_names: Sequence[str], model: IncrementalClassifier, same_class: SameClass, *, method_name: str) -> Roll:
    """Say how the classes of a visit are called.

    `merge`: the images teach the known class. Its row of the head learns again, beside the other classes of this visit,
    and takes its old place; its statistics become those of all its images, old and new; the class stays where it is in
    the order of classes. `new`: it becomes another class, `name (2)`.

    Raises:
        DataError: a class is known and `same_class` is `refuse`, or a name differs from a known one by case alone.
        MethodError: `merge`, and the method keeps too little of a class to go on with it.
    """
    if same_class not in get_args(SameClass):
        raise DataError(
            "--same-class", expected="refuse, merge or new", got=repr(same_class), next_step="choose one of them"
        )
    known = [name for name in class_names if name in model.class_names]
    if known and same_class == "refuse":
        raise DataError(
            "the classes of this visit",
            expected="names that the model does not know yet",
            got=f"known already: {listed([repr(name) for name in known], _NAMED)}",
            next_step="--same-class merge teaches the known class more, --same-class new makes another of that name",
        )
    fresh = [name for name in class_names if name not in known]
    check_class_names([*model.class_names, *fresh], where="the classes of this visit and those known")
    taken = {*model.class_names, *fresh}
    if same_class == "merge" and known:
        _check_can_merge(model, method_name)
        names = [_free(name, taken, "{} (again)", "{} (again {})") for name in known]
        return Roll(folder_names=(*fresh, *known), names=(*fresh, *names), again=dict(zip(names, known, strict=True)))
    renamed = {name: _free(name, taken, "{} (2)", "{} ({})") for name in known}
    names = tuple(renamed.get(name, name) for name in class_names)
    return Roll(folder_names=tuple(class_names), names=names, again={})


def _free(name: str, taken: set[str], first: str, further: str) -> str:
    """Return the first name of the form that is not taken, and take it."""
    number = 2
    made = first.format(name)
    while made in taken:
        number += 1
        made = further.format(name, number)
    taken.add(made)
    return made


def _check_can_merge(model: IncrementalClassifier, method_name: str) -> None:
    if isinstance(model.head, RandomFeatureHead):
        got = f"{method_name}, which keeps sums over the images of all classes"
    elif not isinstance(model.head, TrainedHead):
        got = f"{method_name}, which keeps the mean of a class without the number of its images"
    elif model.statistics is None:
        got = f"{method_name} without alignment: nothing of a class's older images is kept"
    elif isinstance(model.statistics, FullCovariance):
        got = f"{method_name} aligned by full covariances, which do not keep the number of images"
    else:
        return
    raise MethodError(
        "--same-class merge",
        expected="a method with a linear head, aligned with training.alignment.covariance=shared",
        got=got,
        next_step="--same-class new makes another class of that name",
    )
