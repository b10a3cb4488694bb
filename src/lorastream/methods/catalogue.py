"""Find the methods and make one by name; nothing is imported until a method is made.

A preset is a method's options under a name of their own: `presets/<name>.toml` says the `base`, a `summary` with the
source, the `[options]`, and in `[training]` the settings without which it would be another method.
"""

from __future__ import annotations

import ast
import copy
import importlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorastream.errors import Fault, MethodError, nearest, unknown_name

if TYPE_CHECKING:
    from lorastream.methods.protocol import Method

HOOKS = {"before_task", "loss", "after_task"}
ENTRY_POINTS = "lorastream.methods"
PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A method with some of its options chosen.

    Attributes:
        base: name of the method.
        summary: a line on what it is and where it comes from.
        options: hyper-parameters by name.
        training: training settings that belong to it, as in the `[training]` table of a recipe.
    """

    base: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])


@cache
def names() -> list[str]:
    """Return the names of all methods: the package's files, the presets, and the entry points of other packages."""
    return sorted({*_files(), *_presets(), *_foreign()})


def summary(name: str) -> str:
    """Return a preset's summary, or the first line of a method's docstring; nothing is imported."""
    if name in _presets():
        return _presets()[name].summary
    files = _files()
    if name not in files:
        return f"from {_foreign()[name].value}"
    return (ast.get_docstring(files[name]) or "").partition("\n")[0]


def load_class(name: str) -> type[Method]:
    """Import a method's class; for a preset, that of its base.

    Raises:
        MethodError: there is no method of that name; the nearest names are listed.
    """
    files = _files()
    if name in _presets():
        return load_class(_presets()[name].base)
    if name in files:
        module = importlib.import_module(f"lorastream.methods.{name}")
        return getattr(module, _method_class(files[name]) or "")
    if name in _foreign():
        return _foreign()[name].load()
    raise MethodError.of([unknown_name("method.name", kind="method", got=name, choices=names())])


def preset_training(name: str) -> dict[str, Any]:
    """Return the training settings that belong to a preset, as plain values; none for a plain method."""
    return copy.deepcopy(dict(_presets()[name].training)) if name in _presets() else {}


def build(name: str, options: Mapping[str, Any], *, where: str = "method") -> Method:
    """Make a method with its hyper-parameters.

    Args:
        name: one of `names()`.
        options: hyper-parameters by name; they lie over those of a preset.
        where: what the options belong to, for the message.

    Raises:
        MethodError: unknown method, unknown hyper-parameter, or one out of range: all faults at once.
    """
    from pydantic import ValidationError

    made = load_class(name)
    preset = _presets()[name].options if name in _presets() else {}
    try:
        return made(**{**preset, **options})
    except ValidationError as error:
        known = [field for field in getattr(made, "__dataclass_fields__", {}) if not field.endswith("_")]
        # One fault for each hyper-parameter: what is wrong with an entry of a list is said first.
        first = {str(problem["loc"][0]): problem for problem in reversed(error.errors())}
        faults = [_fault(where, name, known, options, problem) for problem in reversed(first.values())]
        raise MethodError.of(faults) from error


def _fault(where: str, name: str, known: list[str], options: Mapping[str, Any], problem: Mapping[str, Any]) -> Fault:
    field = str(problem["loc"][0])
    if problem["type"] == "unexpected_keyword_argument":
        return unknown_name(f"{where}.{field}", kind=f"hyper-parameter of {name}", got=field, choices=known)
    near = nearest(str(problem["input"]), re.findall(r"'([^']*)'", str(problem.get("ctx", {}).get("expected", ""))))
    expected = problem["msg"][0].lower() + problem["msg"][1:]
    return Fault(
        where=f"{where}.{field}",
        expected=expected.removeprefix("input should be ").replace("tuple", "list"),
        got=repr(options.get(field, problem["input"])),
        next_step=f"choose another value for {field} of {name}" + (f" (is {near[0]!r} meant?)" if near else ""),
    )


@cache
def _files() -> dict[str, ast.Module]:
    trees = {path.stem: ast.parse(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("*.py"))}
    return {name: tree for name, tree in trees.items() if _method_class(tree)}


@cache
def _presets() -> dict[str, Preset]:
    return {path.stem: Preset(**tomllib.loads(path.read_text("utf-8"))) for path in sorted(PRESETS.glob("*.toml"))}


def _method_class(tree: ast.Module) -> str | None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not any(ast.unparse(base) == "Protocol" for base in node.bases):
            functions = {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)}
            if functions >= HOOKS:
                return node.name
    return None


@cache
def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
