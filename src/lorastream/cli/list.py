"""`lorastream list`: what there is to choose from, without loading any of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson
from lorastream.errors import UserError, unknown_name

if TYPE_CHECKING:
    from rich.text import Text

PUBLISHED = "Published figures, none of them ours: percent, average accuracy / average incremental accuracy."
_LABELS = {"paper": "Published", "log": "The authors' log"}


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
    """List the methods, recipes, backbones and sources, with a line on each and published figures beside recipes."""
    kinds = [each.value for each in Kind]
    if kind is not None and kind not in kinds:
        raise UserError.of([unknown_name("lorastream list KIND", kind="kind", got=kind, choices=kinds)])
    chosen = [Kind(kind)] if kind else list(Kind)
    if json:
        listed = {k.value: _recipes() if k is Kind.recipes else _entries(k) for k in chosen}
        screen.print_json(listed)
        return
    from rich.text import Text

    width = screen.console().width
    for number, each in enumerate(chosen):
        lines = _recipe_lines(width) if each is Kind.recipes else screen.entries(_entries(each).items(), width=width)
        screen.show(*[Text(), Text(each.value, style="bold")][0 if number else 1 :], *lines)


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


def _recipes() -> dict[str, dict[str, Any]]:
    """Return the recipes with their first lines and what others measured on them."""
    from lorastream.recipes import catalogue

    summaries = _entries(Kind.recipes).items()
    return {name: {"summary": summary, "published": catalogue.published(name)} for name, summary in summaries}


def _recipe_lines(width: int) -> list[Text]:
    """Return the recipes with their first lines, and below each what others measured on it, with the source."""
    from rich.text import Text

    recipes = _recipes()
    longest = max(map(len, recipes))
    lines: list[Text] = []
    for name, recipe in recipes.items():
        lines += screen.entries([(name.ljust(longest), recipe["summary"])], width=width)
        for origin, figures in _by_origin(recipe["published"]).items():
            below = [*screen.wrapped(origin, width - 4), *screen.entries(figures.items(), width=width - 4)]
            lines += [Text("    ").append_text(line) for line in below]
    return lines + screen.wrapped(PUBLISHED, width)


def _by_origin(published: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, str]]:
    """Return the figures of each method, those of one origin together under a line that names it."""
    groups: dict[str, dict[str, str]] = {}
    for kind in _LABELS:
        for method, measured in published.items():
            if kind in measured:
                groups.setdefault(_origin(kind, measured[kind]), {})[method] = _figures(measured[kind])
    return groups


def _origin(kind: str, measured: Mapping[str, Any]) -> str:
    runs, seeds = measured["runs"], ", ".join(map(str, measured.get("seeds", ())))
    parts = [f"{_LABELS[kind]}: {measured['source']}", "one run" if runs == 1 else f"{runs} runs"]
    parts += [f"seed{'' if runs == 1 else 's'} {seeds}"] if seeds else []
    parts += [f"± {measured['spread']}"] if "spread" in measured else []
    marks = {"transcribed": "from one transcription", "read by machine": "read by machine, digits may be wrong"}
    parts += [marks[measured["provenance"]]] if measured.get("provenance") in marks else []
    parts += [measured["note"]] if "note" in measured else []
    return "; ".join(parts)


def _figures(measured: Mapping[str, Any]) -> str:
    keys = ("average_accuracy", "average_incremental_accuracy")
    spreads = (f" ± {measured[f'{key}_spread']:.2f}" if f"{key}_spread" in measured else "" for key in keys)
    return " / ".join(f"{measured[key]:.2f}{spread}" for key, spread in zip(keys, spreads, strict=True))
