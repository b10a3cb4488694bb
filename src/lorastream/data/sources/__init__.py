"""Where images come from: one source a file, found by its name.

A source is a module here with a function `load(...) -> Dataset` whose keywords are the source's options, typed. One
that needs to be told what to load (`torchvision:CIFAR100`) takes that as its only positional argument. Adding a file
adds a source: nothing else has to know.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, cast, get_args

from lorastream.errors import DataError, Fault, unknown_name

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from lorastream.data.images import Dataset


def names() -> list[str]:
    """Return the names of all sources."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if not file.stem.startswith("_"))


def summary(name: str) -> str:
    """Return the first line of a source's description, without loading the source.

    Raises:
        DataError: there is no such source.
    """
    _check_known(name)
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def load(spec: str, **options: object) -> Dataset:
    """Load a dataset.

    Args:
        spec: a source (`digits`), with what it should load where it needs that (`torchvision:CIFAR100`, `hf:beans`).
        options: of the source; text is read as the type that the option has, and "none" as None where it may be that.

    Raises:
        DataError: the source, an option or a value is unknown or missing (all such faults at once), or the data are not
            as they must be.
        MissingExtraError: the source needs a package that is not installed.
    """
    from pydantic import ValidationError, validate_call

    source, positional = _source(spec)
    try:
        return validate_call(source)(*positional, **_with_none(source, options))
    except ValidationError as error:
        raise DataError.of(_faults(spec, source, error.errors(include_url=False))) from None


def check(spec: str, **options: object) -> None:
    """Check what `load` is to be told, as far as can be known before it loads; an option may still be missing.

    Raises:
        DataError: the source, an option or a value is unknown; all such faults at once.
    """
    from pydantic import ValidationError, validate_call

    source, positional = _source(spec)
    try:
        validate_call(_that_loads_nothing(source))(*positional, **_with_none(source, options))
    except ValidationError as error:
        wrong = [detail for detail in error.errors(include_url=False) if not detail["type"].startswith("missing")]
        if wrong:
            raise DataError.of(_faults(spec, source, wrong)) from None


def _source(spec: str) -> tuple[Callable[..., Dataset], list[str]]:
    """Return the function that a source is, and its positional arguments.

    Raises:
        DataError: there is no such source, or it must be told what to load, or must not.
    """
    name, colon, argument = spec.partition(":")
    _check_known(name)
    source = _load_function(name)
    takes_argument = any(p.kind is p.POSITIONAL_ONLY for p in inspect.signature(source).parameters.values())
    if takes_argument != bool(argument) or (colon and not argument):
        raise DataError(
            f"data source {spec!r}",
            expected=f"'{name}:' and what to load" if takes_argument else f"'{name}' alone",
            got=repr(spec),
            next_step=summary(name),
        )
    return source, [argument] if takes_argument else []


def _that_loads_nothing(source: Callable[..., Dataset]) -> Callable[..., None]:
    """Return a function that takes what a source takes and does nothing."""

    @functools.wraps(source)
    def nothing(*_: object, **__: object) -> None:
        return None

    return nothing


def _check_known(name: str) -> None:
    if name not in names():
        raise DataError.of([unknown_name("data source", kind="data source", got=name, choices=names())])


def _load_function(name: str) -> Callable[..., Dataset]:
    module = importlib.import_module(f"{__name__}.{name}")
    return cast("Callable[..., Dataset]", module.load)


def _with_none(source: Callable[..., Dataset], options: dict[str, object]) -> dict[str, object]:
    """Return the options with None for the text "none" where an option may be None: TOML has no null."""
    annotations = inspect.get_annotations(source, eval_str=True)
    empty = {option for option, kind in annotations.items() if NoneType in get_args(kind)}
    return {option: None if option in empty and value == "none" else value for option, value in options.items()}


def _faults(spec: str, source: Callable[..., Dataset], details: Sequence[ErrorDetails]) -> list[Fault]:
    name = spec.partition(":")[0]
    choices = [p.name for p in inspect.signature(source).parameters.values() if p.kind is p.KEYWORD_ONLY]
    faults: list[Fault] = []
    for detail in details:
        option = str(detail["loc"][0])
        where = f"data source {name}, option {option}"
        if detail["type"] == "unexpected_keyword_argument":
            faults.append(unknown_name(where, kind=f"known option of {name}", got=option, choices=choices))
        elif detail["type"].startswith("missing"):
            faults.append(Fault(where, "a value", "none", f"set data.{option}=..."))
        else:
            expected = detail["msg"].removeprefix("Input should be ")
            faults.append(Fault(where, expected, repr(detail["input"]), f"correct data.{option}"))
    return faults
