"""Pydantic's complaints about a recipe as faults: where, what may stand there, what stood there, what to do."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lorastream.errors import Fault, RecipeError, nearest, unknown_name
from lorastream.recipes.schema import DataSection, Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_LONGEST_GOT = 60
_SLIP = 0.8  # how alike two keys are when one is the other misspelt
_FREE_BELOW = {"data": 2, "method": 2, "methods": 3}
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the keys of a recipe were written.

    Attributes:
        file: name of the file.
        moved: key in the resolved recipe -> key in the file, for what `methods.<name>` laid over it.
        overridden: keys given as overrides.
        model: what the file is to be.
        noun: what that is called.
    """

    file: str
    moved: Mapping[str, str] = field(default_factory=dict[str, str])
    overridden: frozenset[str] = frozenset()
    model: type[BaseModel] = Recipe
    noun: str = "recipe"

    def where(self, key: str) -> str:
        """Say where a key was written."""
        plain = key.partition("[")[0]
        # An override also answers for the tables on its way and for what it holds.
        if any(f"{plain}.".startswith(f"{given}.") or f"{given}.".startswith(f"{plain}.") for given in self.overridden):
            return f"override {key}"
        return f"{self.file}: {self.moved.get(plain, plain)}{key.removeprefix(plain)}"


def faults_of(error: ValidationError, origin: Origin) -> list[Fault]:
    """Turn every complaint into a fault."""
    return [fault for details in error.errors() for fault in _faults_of(details, origin)]


def slips(document: Mapping[str, Any], origin: Origin) -> list[Fault]:
    """Find keys of `[data]` that would go to the source as its options, but look like a key of the section misspelt."""
    data = document.get("data")
    known = set(DataSection.model_fields)
    further = set(cast("dict[str, Any]", data)) - known if isinstance(data, dict) else set[str]()
    kind = "key of [data] or option of the source"
    return [
        unknown_name(origin.where(f"data.{key}"), kind=kind, got=key, choices=known)
        for key in sorted(further)
        if difflib.get_close_matches(key, known, cutoff=_SLIP)
    ]


def _faults_of(details: ErrorDetails, origin: Origin) -> list[Fault]:
    key = _key(details["loc"])
    where = origin.where(key)
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, RecipeError):
        return [Fault(origin.where(f.where), f.expected, f.got, f.next_step) for f in cause.faults]
    if details["type"] == "extra_forbidden":
        return [_unknown_key(details, where, origin)]
    form = _form(details["loc"], origin.model)
    if details["type"] == "missing":
        example = f"add a section [{key}]" if "properties" in form or "$ref" in form else f"add {key} = ..."
        meaning = _phrase(form) if "enum" in form else str(form.get("description", "this key")).replace("`", "")
        return [Fault(where, meaning, "nothing", example)]
    if details["type"] == "finite_number":
        return [Fault(where, "a finite number", _shown(details["input"]), "give a number that is not nan or inf")]
    return [Fault(where, _phrase(form), _shown(details["input"]), _next_step(key, form, details["input"]))]


def _key(location: tuple[int | str, ...]) -> str:
    """Return a dotted key, `stream.sizes[1]`, without what pydantic adds about free values."""
    depth = _FREE_BELOW.get(str(location[0]) if location else "")
    text = ""
    for part in location[:depth]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _unknown_key(details: ErrorDetails, where: str, origin: Origin) -> Fault:
    *path, key = (str(part) for part in details["loc"])
    section = _table(path, origin.model)
    kind = f"key of [{'.'.join(path)}]" if path else f"section or key of a {origin.noun}"
    choices = set(section.model_fields) if section else set[str]()
    fault = unknown_name(where, kind=kind, got=key, choices=choices)
    homes = [] if path or origin.model is not Recipe else _homes(key, choices)
    return replace(fault, next_step=f"did you mean {' or '.join(map(repr, homes))}?") if homes else fault


def _homes(key: str, choices: set[str]) -> list[str]:
    """Return the keys of the sections that a key without its section may be: those of that name, else the nearest."""
    homes: dict[str, list[str]] = {}
    for section in ("data", "stream", "backbone", "training"):
        for name in _fields(section):
            homes.setdefault(name, []).append(f"{section}.{name}")
    near = [] if nearest(key, choices) else nearest(key, homes, limit=1)
    return [home for name in [key] * (key in homes) or near for home in homes[name]]


def _fields(section: str) -> list[str]:
    model = _table([section])
    return list(model.model_fields) if model else []


def _table(path: Sequence[int | str], model: type[BaseModel] = Recipe) -> type[BaseModel] | None:
    """Return the model of the table at a path, the whole one for an empty path; None where the keys are free."""
    found: Any = model
    for part in path:
        fields = found.model_fields if _is_model(found) else {}
        inner = fields[part].annotation if part in fields else None
        found = get_args(found)[1] if get_origin(found) is dict else inner
        found = next((option for option in get_args(found) if _is_model(option)), None) if _is_union(found) else found
    return found if _is_model(found) else None


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_union(annotation: object) -> bool:
    return get_origin(annotation) in {Union, UnionType}


def _form(location: tuple[int | str, ...], model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of the key, its entry in a list where the location says so; empty where it is free."""
    tables = [(depth, table) for depth in range(len(location) + 1) if (table := _table(location[:depth], model))]
    depth, table = tables[-1]
    if depth == len(location):
        return table.model_json_schema()
    form = _property(table, str(location[depth]))
    for part in location[depth + 1 :]:
        if isinstance(part, int):
            arrays = [option for option in form.get("anyOf", [form]) if "items" in option]
            form = arrays[0]["items"] if arrays else {}
    return form


def _property(model: type[BaseModel], key: str) -> dict[str, Any]:
    return cast("dict[str, Any]", model.model_json_schema()["properties"].get(key, {}))


def _phrase(form: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema allows."""
    if "enum" in form:
        return f"one of {', '.join(map(str, form['enum']))}"
    if "anyOf" in form:
        return " or ".join(_phrase(option) for option in form["anyOf"] if option.get("type") != "null")
    bounds = " and ".join(f"{sign} {_number(form[name])}" for name, sign in _BOUNDS.items() if name in form)
    kind = _TYPES.get(str(form.get("type")), "text, a number, true or false, a list or a table")
    entries = f" of entries that are each {_phrase(form['items'])}" if "items" in form else ""
    filled = " that is not empty" if "minLength" in form or "minItems" in form else ""
    return f"{kind}{entries}{filled} {bounds}".rstrip()


def _number(bound: float) -> str:
    return "2**32" if bound == 2**32 else f"{bound:g}"


def _shown(value: object) -> str:
    """Return a value as TOML spells it, cut to one line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= _LONGEST_GOT else f"{text[:_LONGEST_GOT]}..."


def _next_step(key: str, form: Mapping[str, Any], got: object) -> str:
    near = nearest(got, map(str, form.get("enum", []))) if isinstance(got, str) else []
    if near:
        return f"did you mean {' or '.join(repr(name) for name in near)}?"
    example = form.get("default", form["enum"][0] if "enum" in form else None)
    if example is None:
        return f"give {_phrase(form)}" + (", or leave it out" if "default" in form else "")
    return f"for example {key} = {_shown(example)}"
