"""The `KEY=VALUE` of `lorastream learn`: what a visit is told of training, and a new model of method and transforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorastream.errors import Fault, RecipeError

_KEYS = ("training", "method", "data")
_TRANSFORMS = {
    "train_transform": "train",
    "test_transform": "test",
    "normalisation": "normalisation",
    "max_side": "max_side",
}


def settings_of(overrides: list[str], *, new: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of a visit by table: `training`, and for a new model `method` and `data`.

    Raises:
        RecipeError: an override is no key=value, or of another table; all faults at once.
    """
    from lorastream.recipes.load import parse_overrides

    changes, faults = parse_overrides(overrides)
    found: dict[str, dict[str, Any]] = {}
    for path, value in changes:
        key = ".".join(path)
        if len(path) < 2 or path[0] not in _KEYS or (path[0] == "data" and path[1] not in _TRANSFORMS):  # noqa: PLR2004
            expected = (
                f"a key of {', '.join(f'{table}.*' for table in _KEYS[:2])}, or data.{', data.'.join(_TRANSFORMS)}"
            )
            faults.append(Fault(f"override {key}", expected, key, "for example training.epochs=3"))
        elif path[0] != "training" and not new:
            step = "leave it out, or begin another model with --into"
            faults.append(Fault(f"override {key}", "training.* only: a model keeps method and transforms", key, step))
        else:
            table = found.setdefault(path[0], {})
            for part in path[1:-1]:
                inner = table.setdefault(part, {})
                table = inner if isinstance(inner, dict) else {}
            table[path[-1]] = value
    if faults:
        raise RecipeError.of(faults)
    return found


def transforms_of(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return how images are prepared, as far as the table `data` says."""
    return {_TRANSFORMS[key]: value for key, value in settings.get("data", {}).items()}
