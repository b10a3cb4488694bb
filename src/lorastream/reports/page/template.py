"""Fills the page's templates. Everything is escaped but SVG that we drew ourselves and our own style sheet."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def render(template: str, **values: object) -> str:
    """Return a template of this folder filled in.

    Args:
        template: its file name, such as "run.html.j2"; it extends "base.html.j2" and imports "parts.html.j2".
        values: what it names; a name that is missing is an error.
    """
    return _environment().get_template(template).render(style=_style(), **values).strip() + "\n"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("lorastream.reports", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_turns,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _without_turns(value: object) -> object:
    """Return text without the characters that turn the direction of what follows: a name must not reach beyond it."""
    return value.translate(_TURNS) if isinstance(value, str) else value


@cache
def _style() -> str:
    return files("lorastream.reports.page").joinpath("style.css").read_text("utf-8").strip()
