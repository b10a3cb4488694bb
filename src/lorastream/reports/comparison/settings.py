"""What two runs must have in common to stand in one table, and in one line of it.

A table is one recipe on the same images, in the same tasks, with the same backbone and budget. A line is one method
with the same hyper-parameters and training. What an older lorastream did not record yet is taken as equal; where two
runs say different things they are never averaged, and the difference becomes part of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from pydantic import JsonValue

from lorastream.runs import RunRecord

Leaves = dict[str, JsonValue]
T = TypeVar("T")

FINGERPRINT = "data fingerprint"
"""The name of the setting that says whether the images are the same."""

_BUDGET = ("training.epochs", "training.batch_size")
_PLACES = frozenset({"data.root", "data.cache", "backbone.weights"})
_WITHOUT_EFFECT = frozenset({"training.evaluation_batch_size", "training.compile", "training.accumulation"})
_NAMED_AT_MOST = 3


def shared_settings(record: RunRecord, *, same_data: bool = False) -> Leaves:
    """Return what decides in which table a run stands, by dotted name.

    Args:
        record: of the run.
        same_data: whether to take runs with different fingerprints of the data as runs on the same data.
    """
    recipe = dict(_leaves(record.recipe))
    chosen = {key: value for key, value in recipe.items() if key.startswith(("data.", "stream.")) or key in _BUDGET}
    chosen = {key: value for key, value in chosen.items() if key not in {*_PLACES, "stream.order_seed"}}
    return {"recipe": record.recipe_name, **chosen, **_of_data(record, same_data=same_data), **_of_backbone(record)}


def own_settings(record: RunRecord) -> Leaves:
    """Return what decides in which line of a table a run stands: hyper-parameters and training, by dotted name."""
    recipe = dict(_leaves(record.recipe))
    hyper_parameters = {f"method.{key}": value for key, value in _leaves(record.hyper_parameters)}
    if not hyper_parameters:
        hyper_parameters = {key: value for key, value in recipe.items() if key.startswith("method.")}
    training = {key: value for key, value in recipe.items() if key.startswith("training.")}
    chosen = {"method.name": record.method, **hyper_parameters, **training}
    ignored = {*_BUDGET, *_WITHOUT_EFFECT}
    return {key: value for key, value in chosen.items() if key not in ignored and "checkpoint" not in key}


def same_line(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs of one table differ by their seed and class order alone."""
    first, second = own_settings(one), own_settings(other)
    if not one.hyper_parameters and not other.hyper_parameters:  # only what the recipes say; the rest is the default
        named = {key for key in {*first, *second} if key.startswith("method.")}
        if any(first.get(key) != second.get(key) for key in named):
            return False
    return alike(first, second)


def alike(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> bool:
    """Whether two sets of settings agree wherever both say something."""
    return all(one[key] == other[key] for key in one.keys() & other.keys())


def gathered(things: Sequence[T], together: Callable[[T, T], bool]) -> list[list[T]]:
    """Put together what belongs together: each with the first group all of whose members agree with it."""
    groups: list[list[T]] = []
    for thing in things:
        for group in groups:
            if all(together(thing, member) for member in group):
                group.append(thing)
                break
        else:
            groups.append([thing])
    return groups


def distinctions(settings: Sequence[Mapping[str, JsonValue]]) -> list[str]:
    """Return, for each of several settings, the leaves by which it differs from another: "a=1, b=2"; "" for one."""
    keys = sorted({key for one in settings for key in one})
    differing = [key for key in keys if len({repr(one[key]) for one in settings if key in one}) > 1]
    differing = differing or [key for key in keys if any(key not in one for one in settings)]
    shown = differing[:_NAMED_AT_MOST]
    more = f" and {len(differing) - len(shown)} more" if len(differing) > len(shown) else ""
    return [", ".join(f"{key}={spelt(one[key])}" for key in shown if key in one) + more for one in settings]


def departures(record: RunRecord, protocol: Mapping[str, JsonValue]) -> list[str]:
    """Return in what a run departs from a recipe's protocol: "training.epochs 1 instead of 20".

    Args:
        record: of the run.
        protocol: the recipe's document; what it says of images, stream, backbone, epochs and batches is compared.
    """
    ran = dict(_leaves(record.recipe))
    asked = dict(_leaves(protocol))
    changed = f"methods.{record.method}."
    asked |= {key.removeprefix(changed): value for key, value in asked.items() if key.startswith(changed)}
    keys = [key for key in asked if key.startswith(("data.", "stream.", "backbone.")) or key in _BUDGET]
    return [
        f"{key} {spelt(ran[key])} instead of {spelt(asked[key])}"
        for key in keys
        if key in ran and key not in _PLACES and ran[key] != asked[key]
    ]


def spelt(value: JsonValue) -> str:
    """Return a setting as one reads it."""
    if isinstance(value, list):
        return "[" + " ".join(map(spelt, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _of_data(record: RunRecord, *, same_data: bool) -> Leaves:
    data = record.dataset
    if data is None:
        return {}
    fingerprint: Leaves = {} if same_data or data.fingerprint is None else {FINGERPRINT: data.fingerprint[:8]}
    counts: Leaves = {"training images": sum(data.n_train), "test images": sum(data.n_test)} if data.n_train else {}
    return {"data": data.name, **fingerprint, **counts}


def _of_backbone(record: RunRecord) -> Leaves:
    backbone = record.backbone
    if backbone is None:
        return {}
    leaves: Leaves = {"backbone": backbone.name, "backbone size": backbone.image_size}
    return leaves if backbone.sha256 is None else {**leaves, "backbone hash": backbone.sha256[:8]}


def _leaves(table: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield f"{prefix}{key}", "given"  # or a table and none of it would have no key in common
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
