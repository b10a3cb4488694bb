"""What an analysis comes to, and how it is left in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lorastream.files import make_folder, write_atomically

FOLDER = "analyses"
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A claim, and what this run says of it.

    Attributes:
        what: name of the analysis, as `lorastream analyse --what` has it.
        title: a line of what was looked at.
        claim: what the paper claims, in our words, with its figure or table.
        paragraph: whether that holds on this run, with figures; for people.
        holds: True, False, or None where the run cannot tell.
        figures: what was measured, as plain values.
        drawing: the plot as SVG text.
        alt: what the plot shows, for those who do not see it.
    """

    what: str
    title: str
    claim: str
    paragraph: str
    holds: bool | None
    figures: Mapping[str, Any]
    drawing: str
    alt: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, numbers to six digits; `svg` is the name of the plot's file beside it."""
        return {
            "what": self.what,
            "title": self.title,
            "claim": self.claim,
            "paragraph": self.paragraph,
            "holds": self.holds,
            "figures": _rounded(self.figures),
            "svg": f"{self.what}.svg",
            "alt": self.alt,
        }


def verdict(holds: bool | None) -> str:
    """Return how a paragraph begins that tells whether the claim holds."""
    return "The claim holds on this run" if holds else "The claim does not hold on this run"


def write(found: Analysis, run: Path) -> Path:
    """Write `RUN/analyses/<what>.svg` and then `<what>.json`, each in one rename; return the latter.

    Raises:
        CheckpointError: the folder cannot be made.
        RunError: a file cannot be written; what stood there is untouched.
    """
    folder = folder_of(run)
    write_atomically(folder / f"{found.what}.svg", found.drawing)
    path = folder / f"{found.what}.json"
    write_atomically(path, json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def folder_of(run: Path) -> Path:
    """Return the folder of a run's analyses, made where it is missing.

    Raises:
        CheckpointError: it cannot be made.
    """
    folder = run / FOLDER
    make_folder(folder, next_step="see that you may write there, or copy the run to where you may")
    return folder


def _rounded(value: Any) -> Any:  # noqa: ANN401 (any plain value)
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {str(key): _rounded(entry) for key, entry in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in cast("list[Any]", value)]
    return value
