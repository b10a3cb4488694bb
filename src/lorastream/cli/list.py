"""`lorastream list`: what there is to choose from, without loading any of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lorastream.cli.arguments import AsJson
from lorastream.errors import UserError, unknown_name


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    recipes = "recipes"
    backbones = "backbones"
    sources = "sources"


def show(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="What to list: methods, recipes, backbones or sources; everything by default.",
            show_default=False,
        ),
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """List the methods, recipes, backbones and sources, with a line on each."""
    kinds = [each.value for each in Kind]
    if kind is not None and kind not in kinds:
        raise UserError.of([unknown_name("lorastream list KIND", kind="kind", got=kind, choices=kinds)])
    listed = {k.value: _entries(k) for k in ([Kind(kind)] if kind else Kind)}
    if json:
        import json as json_module

        typer.echo(json_module.dumps(listed, indent=1, ensure_ascii=False))
        return
    from rich.text import Text

    from lorastream.cli import screen

    width = screen.console().width
    for number, (heading, entries) in enumerate(listed.items()):
        title = [Text(), Text(heading, style="bold")][0 if number else 1 :]
        screen.show(*title, *screen.entries(entries.items(), width=width))


def _entries(kind: Kind) -> dict[str, str]:
    """Return names with their first lines."""
    if kind is Kind.methods:
        from lorastream import methods

        return {name: methods.summary(name) for name in methods.names()}
    if kind is Kind.recipes:
        from lorastream.recipes import catalogue

        return {name: catalogue.summary(name) for name in catalogue.names()}
    if kind is Kind.sources:
        from lorastream.data import sources

        return {name: sources.summary(name) for name in sources.names()}
    from lorastream.backbones.load import BUNDLED

    any_timm = "any vision transformer of timm by its exact tag, with its weights or a local file"
    return {**BUNDLED, "<timm tag>": any_timm, "hf:<name or folder>": "a Hugging Face vision encoder (extra hf)"}
