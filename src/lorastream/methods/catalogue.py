"""Find the methods and make one by name; nothing is imported until a method is made."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorastream.errors import Fault, MethodError, nearest, unknown_name

if TYPE_CHECKING:
    from lorastream.methods.protocol import Method

HOOKS = {"before_task", "loss", "after_task"}
ENTRY_POINTS = "lorastream.methods"


@cache
def names() -> list[str]:
    """Return the names of all methods: the package's files and the entry points of other packages."""
    return sorted({*_files(), *_foreign()})


def summary(name: str) -> str:
    """Return the first line of a method's docstring, without importing it."""
    files = _files()
    if name not in files:
        return f"from {_foreign()[name].value}"
    return (ast.get_docstring(files[name]) or "").partition("\n")[0]


def load_class(name: str) -> type[Method]:
    """Import a method's class.

    Raises:
        MethodError: there is no method of that name; the nearest names are listed.
    """
    files = _files()
    if name in files:
        module = importlib.import_module(f"lorastream.methods.{name}")
        return getattr(module, _method_class(files[name]) or "")
    if name in _foreign():
        return _foreign()[name].load()
    raise MethodError.of([unknown_name("method.name", kind="method", got=name, choices=names())])


def build(name: str, options: Mapping[str, Any], *, where: str = "method") -> Method:
    """Make a method with its hyper-parameters.

    Args:
        name: one of `names()`.
        options: hyper-parameters by name.
        where: what the options belong to, for the message.

    Raises:
        MethodError: unknown method, unknown hyper-parameter, or one out of range: all faults at once.
    """
    from pydantic import ValidationError

    made = load_class(name)
    try:
        return made(**options)
    except ValidationError as error:
        known = [field for field in getattr(made, "__dataclass_fields__", {}) if not field.endswith("_")]
        raise MethodError.of([_fault(where, name, known, problem) for problem in error.errors()]) from error


def _fault(where: str, name: str, known: list[str], problem: Mapping[str, Any]) -> Fault:
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return unknown_name(f"{where}.{field}", kind=f"hyper-parameter of {name}", got=field, choices=known)
    near = nearest(str(problem["input"]), re.findall(r"'([^']*)'", str(problem.get("ctx", {}).get("expected", ""))))
    expected = problem["msg"][0].lower() + problem["msg"][1:]
    return Fault(
        where=f"{where}.{field}",
        expected=expected.removeprefix("input should be "),
        got=repr(problem["input"]),
        next_step=f"choose another value for {field} of {name}" + (f" (is {near[0]!r} meant?)" if near else ""),
    )


@cache
def _files() -> dict[str, ast.Module]:
    trees = {path.stem: ast.parse(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("*.py"))}
    return {name: tree for name, tree in trees.items() if _method_class(tree)}


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
