"""What an update must keep to be taken over: `old-drop<=1`, `old>=70`, `new>=80`. Loads no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lorastream.errors import DataError, Fault

Measure = Literal["old-drop", "old", "new"]

MEASURES: Mapping[Measure, tuple[str, str]] = {
    "old-drop": ("<=", "points lost on the old classes"),
    "old": (">=", "accuracy on the old classes"),
    "new": (">=", "accuracy on the new classes"),
}
_FORM = re.compile(r"\s*(old-drop|old|new)\s*(<=|>=)\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*%?\s*")


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that must hold.

    Attributes:
        measure: what is measured, in percent or percentage points.
        bound: the largest drop, or the smallest accuracy: 0 to 100.
    """

    measure: Measure
    bound: float

    def __str__(self) -> str:
        return f"{self.measure}{MEASURES[self.measure][0]}{self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether a measured value, in percent or points, meets the requirement; rounding is allowed for."""
        return value <= self.bound + 1e-9 if self.measure == "old-drop" else value >= self.bound - 1e-9


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was measured for a requirement, in percent or points, and whether it holds.

    Where nothing can be measured, as a first visit has no old classes, it holds.
    """

    requirement: Requirement
    value: float | None
    holds: bool


def parse(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """Take requirements from texts such as `old-drop<=1.0`.

    Raises:
        DataError: all that are not of that form, at once.
    """
    found: list[Requirement] = []
    faults: list[Fault] = []
    for text in texts:
        match = _FORM.fullmatch(text)
        measure: Measure | None = next((name for name in MEASURES if match and match[1] == name), None)
        if match and measure and match[2] == MEASURES[measure][0] and float(match[3]) <= 100:  # noqa: PLR2004 (percent)
            found.append(Requirement(measure=measure, bound=float(match[3])))
        else:
            faults.append(_fault(text))
    if faults:
        raise DataError.of(faults)
    return tuple(found)


def _fault(text: str) -> Fault:
    bare = text.strip() in MEASURES
    return Fault(
        f"--require {text!r}",
        "old-drop<=POINTS, old>=PERCENT or new>=PERCENT, with 0 to 100",
        "no bound: without quotes the shell takes < and > for itself" if bare else repr(text),
        "write it in quotes: --require 'old-drop<=1.0'",
    )
