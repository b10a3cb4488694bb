"""The analyses by name; nothing heavy is imported until one is made. Loads no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from lorastream.errors import UserError, unknown_name

if TYPE_CHECKING:
    from lorastream.analyses.finished import FinishedRun
    from lorastream.analyses.options import Options
    from lorastream.analyses.result import Analysis

SUMMARIES = {
    "closeness": "distances of weights that learnt one task each, from the same start",
    "residuals": "how well earlier directions fit the newest, while it learns",
    "magnitudes": "SD-LoRA's magnitudes after every task",
    "path": "accuracy on two tasks, along the line between their weights",
    "landscape": "loss on the plane through the weights of three tasks",
    "frozen-first": "the first direction frozen, only its magnitude learning",
    "efficiency": "operations of a prediction, parameters, stored features",
    "energy": "how far the updates of tasks share their subspaces",
}
"""Name and a line on each, in the order of the paper."""

ALL = "all"


def chosen(names: str) -> list[str]:
    """Return the analyses that a text such as `closeness,path` or `all` names, each once.

    Raises:
        UserError: a name is unknown, or there is none.
    """
    given = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if ALL in given:
        return list(SUMMARIES)
    faults = [
        unknown_name("--what", kind="analysis", got=name, choices=[*SUMMARIES, ALL])
        for name in given
        if name not in SUMMARIES
    ]
    if faults:
        raise UserError.of(faults)
    if not given:
        raise UserError(
            "--what",
            expected=f"names separated by commas: {', '.join([*SUMMARIES, ALL])}",
            got=repr(names),
            next_step="for example --what magnitudes,path",
        )
    return given


def find(name: str) -> Callable[[FinishedRun, Options], Analysis]:
    """Import an analysis: a function of a finished run.

    Raises:
        MissingExtraError: what it draws with is not installed.
    """
    module = importlib.import_module(f"lorastream.analyses.{name.replace('-', '_')}")
    return cast("Callable[[FinishedRun, Options], Analysis]", module.analyse)
