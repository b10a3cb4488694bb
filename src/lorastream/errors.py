"""What can go wrong, as one tree; every error says where, what was expected, what was got, and what to do next.

```
LorastreamError                exit code 1
├── RunError                   a run failed for a reason its user did not write down (loss not finite, disk full)
└── UserError(ValueError)      exit code 2: something given to lorastream is not as it must be
    ├── RecipeError            every fault of a recipe at once
    ├── DataError              a source, a stream or an image
    ├── BackboneError          a backbone's name or weights
    ├── AdapterError           where and how adapters attach
    ├── MethodError            a method's name or a hyper-parameter out of range
    ├── CheckpointError        a model or a run on disk
    └── MissingExtraError      an optional dependency that is not installed
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Name = TypeVar("Name", bound=str)
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        where: file and key, or argument and owner.
        expected: the range, the choices or the form that would have been right.
        got: what was there instead.
        next_step: what to do about it: the nearest name, a command.
    """

    where: str
    expected: str
    got: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.where}\n  expected: {self.expected}\n  got:      {self.got}\n  next:     {self.next_step}"


class LorastreamError(Exception):
    """Root of all errors raised on purpose; carries one or more faults and the exit code of the command line."""

    exit_code = 1

    def __init__(self, where: str, *, expected: str, got: str, next_step: str) -> None:
        self.faults: tuple[Fault, ...] = (Fault(where, expected, got, next_step),)
        super().__init__(str(self))

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> LorastreamError:
        """Make one error of several faults, so that all are reported at once."""
        error = cls.__new__(cls)
        error.faults = tuple(faults)
        Exception.__init__(error, str(error))
        return error

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)

    def __reduce__(self) -> tuple[object, ...]:
        # Processes send their errors to each other; by default one would be made anew without its keywords, and fail.
        return type(self).of, (self.faults,)


class RunError(LorastreamError):
    """A run failed for a reason that its user did not write down."""


class UserError(LorastreamError, ValueError):
    """Something given to lorastream is not as it must be."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe with faults."""


class DataError(UserError):
    """A source, a stream or an image is not as it must be."""


class BackboneError(UserError):
    """A backbone's name is ambiguous or unknown, or its weights do not fit."""


class AdapterError(UserError):
    """Adapters cannot attach where and how they were told to."""


class MethodError(UserError):
    """A method is unknown or one of its hyper-parameters is out of range."""


class CheckpointError(UserError):
    """A model or a run on disk is missing, torn or of another schema."""


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def missing(cls, where: str, *, package: str, extra: str) -> MissingExtraError:
        """Name the package that is missing and the line that installs it."""
        return cls(
            where,
            expected=f"the package '{package}' to be installed",
            got="no such package in this environment",
            next_step=f"pip install 'lorastream[{extra}]'",
        )


def nearest(name: str, choices: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return up to `limit` of the choices that look most like `name`, best first; empty where none is near."""
    return difflib.get_close_matches(name, list(choices), n=limit, cutoff=0.5)


def unknown_name(where: str, *, kind: str, got: str, choices: Iterable[str]) -> Fault:
    """Describe a name that is not among the choices, with the nearest ones or, where none is near, the first few."""
    known = sorted(choices)
    near = nearest(got, known)
    listed = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")  # noqa: PLR2004
    return Fault(
        where=where,
        expected=f"a {kind}: {listed}" if known else f"a {kind} (there are none)",
        got=repr(got),
        next_step=f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"choose a {kind} from the list",
    )


def of_stored_kind(names: Iterable[str], kinds: Mapping[Name, Kind], *, what: str) -> Kind:
    """Return the kind that stored tensors are of, by what all their names begin with: `KIND/NAME`.

    Raises:
        CheckpointError: of none that is known here, or of several.
    """
    found = sorted({name.partition("/")[0] for name in names})
    for known, kind in kinds.items():
        if found == [known]:
            return kind
    raise CheckpointError(
        what,
        expected=f"of kind {' or '.join(kinds)}",
        got=", ".join(found) or "nothing",
        next_step="load the model with the release of lorastream that wrote it, or a newer one",
    )
