"""`lorastream validate`: all faults of a recipe at once, or the recipe as it would run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from lorastream.cli import screen
from lorastream.cli.arguments import AsJson, Overrides, RecipeName

if TYPE_CHECKING:
    from lorastream.errors import Fault
    from lorastream.recipes.schema import Recipe


def validate(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    json: AsJson = False,
) -> None:
    """Check a recipe for each of its methods, and name every fault at once."""
    from lorastream.errors import RecipeError

    checked, faults = _checked(recipe, overrides or [])
    if faults:
        raise RecipeError.of(faults)
    if json:
        screen.print_json([plan.resolved() for plan in checked])
    else:
        typer.echo(f"{recipe} is valid for {', '.join(plan.method.name for plan in checked)}.")


def _checked(recipe: str, overrides: list[str]) -> tuple[list[Recipe], list[Fault]]:
    """Return the recipe for each of its methods, and the faults, each once."""
    from lorastream.errors import RecipeError
    from lorastream.recipes import build
    from lorastream.recipes.load import method_names

    checked: list[Recipe] = []
    faults: list[Fault] = []
    for method in method_names(recipe, overrides) or [None]:
        try:
            checked.append(build.load(recipe, overrides, method=method))
        except RecipeError as error:
            faults += [fault for fault in error.faults if fault not in faults]
    return checked, faults
