"""Fills the page's templates. Everything is escaped but SVG that we drew ourselves and our own style sheet."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


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
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _style() -> str:
    return files("lorastream.reports.page").joinpath("style.css").read_text("utf-8").strip()
