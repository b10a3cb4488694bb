"""TOML and overrides to a Recipe, with every fault reported at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from lorastream.errors import Fault, RecipeError
from lorastream.recipes.catalogue import find, header, names, read_toml, summary, text
from lorastream.recipes.faults import Origin, faults_of, slips
from lorastream.recipes.schema import STREAM_CUTS, Recipe, resolve

__all__ = ["header", "load", "method_names", "names", "parse_overrides", "read", "resolve_document", "summary", "text"]

Change = tuple[tuple[str, ...], Any]
"""One override: the path of a key, and its value."""


def read(name_or_path: str | Path) -> Recipe:
    """Read a recipe with the settings of all its methods, each checked.

    Raises:
        RecipeError: all faults at once.
    """
    document, label = _document(name_or_path)
    faults = _faults(document, Origin(file=label))
    for method in _tables(document.get("methods")):
        known = {fault.where for fault in faults}
        own = _faults(resolve(document, method), _origin(label, document, method))
        faults += [fault for fault in own if fault.where not in known]
    if faults:
        raise RecipeError.of(faults)
    return Recipe.model_validate(document)


def load(name_or_path: str | Path, overrides: Sequence[str] = (), method: str | None = None) -> Recipe:
    """Read a recipe and resolve it for one method.

    Args:
        name_or_path: a recipe of the library, or a file.
        overrides: `key=value` with dotted keys and TOML values, laid over everything else: `training.lr=1e-3`. A value
            that is no TOML is text: `backbone.name=deit_tiny_patch16_224`, `data.root=~/photos`.
        method: the method to run; None: the recipe's own.

    Raises:
        RecipeError: all faults at once, of the file and of the overrides.
    """
    resolved, faults = resolve_document(name_or_path, overrides, method)
    if faults:
        raise RecipeError.of(faults)
    return Recipe.model_validate(resolved)


def method_names(name_or_path: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """Return the methods that a recipe has settings for, its own last unless it is listed, whatever else is wrong.

    An override of `method.name` leaves that one alone; a recipe without any method gives an empty list.

    Raises:
        RecipeError: there is no such recipe, or it is no TOML.
    """
    document, _ = _document(name_or_path)
    changes, _ = parse_overrides(overrides)
    own = _method_name(document, changes)
    overridden = any(path == ("method", "name") for path, _ in changes)
    listed = [] if overridden else list(_tables(document.get("methods")))
    return listed + [name for name in (own,) if name is not None and name not in listed]


def resolve_document(
    name_or_path: str | Path, overrides: Sequence[str] = (), method: str | None = None
) -> tuple[dict[str, Any], list[Fault]]:
    """Return what `load` makes a recipe of, and all its faults, so that others can add what they know to be wrong.

    Raises:
        RecipeError: there is no such recipe, or it is no TOML.
    """
    document, label = _document(name_or_path)
    changes, faults = parse_overrides(overrides)
    for path, value in changes:
        if path[0] == "methods":
            faults += _lay(document, path, value)
    name = method or _method_name(document, changes)
    resolved = resolve(document, name) if name else dict(document)
    _make_way(resolved, [path for path, _ in changes])
    for path, value in changes:
        if path[0] != "methods" and (path != ("method", "name") or not isinstance(value, str)):
            faults += _lay(resolved, path, value)
    return resolved, faults + _faults(resolved, _origin(label, document, name, (".".join(path) for path, _ in changes)))


def parse_overrides(overrides: Sequence[str]) -> tuple[list[Change], list[Fault]]:
    """Take `key=value` texts apart into dotted paths and TOML values; bare words become text."""
    changes: list[Change] = []
    faults: list[Fault] = []
    for override in overrides:
        key, sign, value = override.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not sign or not all(path):
            step = "for example training.lr=1e-3"
            faults.append(Fault(f"override {override!r}", "key=value with a dotted key", repr(override), step))
        else:
            changes.append((path, _value(value)))
    return changes, faults


def _value(literal: str) -> Any:  # noqa: ANN401 any TOML value
    try:
        table = tomllib.loads(f"value = {literal}")
    except (ValueError, RecursionError):
        return literal.strip()
    # A line break in the text could smuggle further keys in: then it is text.
    return table["value"] if list(table) == ["value"] else literal


def _lay(document: dict[str, Any], path: tuple[str, ...], value: object) -> list[Fault]:
    """Put a value at a dotted path, copying the tables on the way; the fault, if something there is no table."""
    table = document
    for depth, key in enumerate(path[:-1]):
        inner = table.get(key, {})
        if not isinstance(inner, dict):
            where = ".".join(path[: depth + 1])
            return [Fault(f"override {'.'.join(path)}", f"{where} to be a table", repr(inner), f"write {where}=...")]
        table[key] = dict(cast("dict[str, Any]", inner))
        table = table[key]
    table[path[-1]] = value
    return []


def _make_way(document: dict[str, Any], paths: Sequence[tuple[str, ...]]) -> None:
    """Drop the file's way of cutting the stream where an override names another, as only one may stand."""
    stream = document.get("stream")
    if isinstance(stream, dict) and any(("stream", key) in paths for key in STREAM_CUTS):
        entries = cast("dict[str, Any]", stream).items()
        document["stream"] = {key: value for key, value in entries if key not in STREAM_CUTS}


def _origin(label: str, document: Mapping[str, Any], method: str | None, overridden: Iterable[str] = ()) -> Origin:
    """Say where each key of a recipe resolved for a method was written."""
    extra = _tables(document.get("methods")).get(method or "", {})
    moved = {f"method.{key}": f"methods.{method}.{key}" for key in extra if key != "training"}
    training = extra.get("training")
    if isinstance(training, dict):
        moved |= {f"training.{key}": f"methods.{method}.training.{key}" for key in cast("dict[str, Any]", training)}
    return Origin(file=label, moved=moved, overridden=frozenset(overridden))


def _faults(document: Mapping[str, Any], origin: Origin) -> list[Fault]:
    faults = slips(document, origin)
    try:
        Recipe.model_validate(document)
    except ValidationError as error:
        faults += faults_of(error, origin)
    return faults


def _tables(value: object) -> dict[str, dict[str, Any]]:
    """Return the entries of a table that are tables themselves."""
    entries = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return {key: entry for key, entry in entries.items() if isinstance(entry, dict)}


def _method_name(document: Mapping[str, Any], changes: Sequence[Change]) -> str | None:
    """Return the method that the overrides or else the document name."""
    given = [value for path, value in changes if path == ("method", "name")]
    own = document.get("method")
    name = given[-1] if given else cast("dict[str, Any]", own).get("name") if isinstance(own, dict) else None
    return name if isinstance(name, str) else None


def _document(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    """Return a recipe's TOML as a dictionary, with a name, and what to call the file in messages."""
    path = find(name_or_path)
    document = read_toml(path)
    document.setdefault("name", path.stem)
    return document, path.name
