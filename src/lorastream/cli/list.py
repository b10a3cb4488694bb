"""`lorastream list`: what there is to choose from, without loading any of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lorastream.cli.arguments import AsJson


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    recipes = "recipes"
    backbones = "backbones"
    sources = "sources"


def show(
    kind: Annotated[
        Kind | None, typer.Argument(help="What to list; everything by default.", show_default=False)
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """List the methods, recipes, backbones and sources, with a line on each."""
    listed = {k.value: _entries(k) for k in ([kind] if kind else Kind)}
    if json:
        import json as json_module

        typer.echo(json_module.dumps(listed, indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for heading, entries in listed.items():
        console.print(f"[bold]{heading}[/]")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, summary in entries.items():
            table.add_row(f"  {name}", summary)
        console.print(table)


def _entries(kind: Kind) -> dict[str, str]:
    """Return names with their first lines."""
    if kind is Kind.methods:
        from lorastream import methods

        return {name: methods.summary(name) for name in methods.names()}
    if kind is Kind.recipes:
        from lorastream.recipes import load

        return {name: load.summary(name) for name in load.names()}
    if kind is Kind.sources:
        from lorastream.data import sources

        return {name: sources.summary(name) for name in sources.names()}
    from lorastream.backbones.load import BUNDLED

    any_timm = "any vision transformer of timm by its exact tag, with its weights or a local file"
    return {**BUNDLED, "<timm tag>": any_timm, "hf:<name or folder>": "a Hugging Face vision encoder (extra hf)"}
