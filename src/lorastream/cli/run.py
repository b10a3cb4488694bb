"""`lorastream run`: learn a recipe's stream with one or several methods and seeds, and show what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorastream.cli.arguments import AsJson, Overrides, RecipeName
from lorastream.errors import RecipeError

if TYPE_CHECKING:
    from lorastream.recipes.schema import Recipe
    from lorastream.runs.record import RunRecord


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    methods: Annotated[
        str | None, typer.Option(help="Methods to run, separated by commas; the recipe's own by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run, counting up from the recipe's.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run. Several methods or seeds go into folders below it. "
            "Default: runs/<recipe>/<method>/<seed>-<id>.",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the closing line only.")] = False,
) -> None:
    """Learn a recipe's tasks one after another and evaluate every class seen after each."""
    from lorastream.cli.progress import Display

    plans = _plans(recipe, overrides or [], methods, seeds)
    from lorastream.experiment import run as run_recipe

    records: list[RunRecord] = []
    folders: list[Path] = []
    for plan in plans:
        folder = _folder(out, plan, alone=len(plans) == 1)
        with Display(plan, silent=json or quiet) as display:
            record, written = run_recipe(plan, folder, listen=display.listen)
        records.append(record)
        folders.append(written)
    if _speaks():
        _show(records, folders, json=json, quiet=quiet)


def _plans(recipe: str, overrides: list[str], methods: str | None, seeds: int) -> list[Recipe]:
    """Return one recipe for every method and seed."""
    from lorastream.recipes.build import load

    names = [None] if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise RecipeError(
            "--methods",
            expected="names separated by commas",
            got=repr(methods),
            next_step="for example --methods sequential_lora,sd_lora",
        )
    bases = [load(recipe, overrides, method=name) for name in names]
    return [base.model_copy(update={"seed": base.seed + i}) for base in bases for i in range(seeds)]


def _folder(out: Path | None, plan: Recipe, *, alone: bool) -> Path | None:
    if out is None or alone:
        return out
    return out / plan.method.name / str(plan.seed)


def _speaks() -> bool:
    """Whether this is the process that prints, of those that share the work."""
    from accelerate import PartialState

    return PartialState().is_main_process


def _show(records: list[RunRecord], folders: list[Path], *, json: bool, quiet: bool) -> None:
    from lorastream.reports import accuracy_matrices, closing_line, summary_table

    if json:
        import json as json_module

        documents = [{"folder": str(f), **r.to_json()} for r, f in zip(records, folders, strict=True)]
        typer.echo(json_module.dumps(documents if len(documents) > 1 else documents[0], indent=1, allow_nan=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not quiet:
        console.print(accuracy_matrices(records))
        console.print(summary_table(records))
    console.print(closing_line(records))
    if not quiet:
        for folder in folders:
            console.print(f"[dim]{folder}[/]", soft_wrap=True)
