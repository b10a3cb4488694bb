"""`lorastream list`: what there is to choose from, without loading any of it but where traits are asked for."""

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
_TRAITS = {
    "no\nimages": "exemplar_free",
    "no\nsteps": "gradient_free",
    "frozen\nbackbone": "freezes_backbone",
    "past\nfixed": "keeps_past_parameters_fixed",
    "goes\non": "starts_where_it_ended",
    "\nmerges": "merges_exactly",
}
_LEGEND = """
no images: none of past tasks are needed. no steps: nothing is trained. past fixed: what earlier tasks learnt never
changes. goes on: a new task begins with the answers that the last one ended with. merges: into a plain backbone.
passes: of the backbone for one prediction.
"""
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
    traits: Annotated[
        bool, typer.Option("--traits", help="Of methods, what each promises, a line each; takes some seconds.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List the methods, recipes, backbones and sources, with a line on each and published figures beside recipes."""
    kinds = [each.value for each in Kind]
    if kind is not None and kind not in kinds:
        raise UserError.of([unknown_name("lorastream list KIND", kind="kind", got=kind, choices=kinds)])
    if traits:
        _show_traits(kind, json=json)
        return
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


def _show_traits(kind: str | None, *, json: bool) -> None:
    """Show what every method promises with its own hyper-parameters."""
    if kind not in (None, Kind.methods.value):
        raise UserError(
            f"lorastream list {kind} --traits",
            expected="methods, which alone have traits",
            got=str(kind),
            next_step="lorastream list methods --traits",
        )
    from dataclasses import asdict

    from lorastream import methods

    found: dict[str, dict[str, Any]] = {}
    for name in methods.names():
        training = methods.preset_training(name)
        found[name] = asdict(methods.build(name, {}).traits)
        found[name]["head"] = training.get("head", {}).get("kind", found[name]["head"])
        found[name]["keeps_past_parameters_fixed"] &= "alignment" not in training
    if json:
        screen.print_json({"methods": found})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("\nmethod", *_TRAITS, "\npasses", "\nhead"):
        table.add_column(heading, no_wrap=True)
    for name, own in found.items():
        table.add_row(
            name,
            *("yes" if own[trait] else "" for trait in _TRAITS.values()),
            str(own["inference_passes"]),
            own["head"],
        )
    screen.show(table, "", " ".join(_LEGEND.split()))


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
