"""`lorastream validate`: all faults of a recipe at once, or the recipe as it would run."""

from __future__ import annotations

import typer

from lorastream.cli.arguments import AsJson, Overrides, RecipeName


def validate(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    json: AsJson = False,
) -> None:
    """Check a recipe for each of its methods; exit code 2 and every fault if there are any."""
    from lorastream.errors import Fault, RecipeError
    from lorastream.recipes import build
    from lorastream.recipes.load import read

    faults: list[Fault] = []
    checked: list[dict[str, object]] = []
    for method in read(recipe).method_names():
        try:
            checked.append(build.load(recipe, overrides or [], method=method).resolved())
        except RecipeError as error:
            faults.extend(fault for fault in error.faults if fault not in faults)
    if faults:
        raise RecipeError.of(faults)
    if json:
        import json as json_module

        typer.echo(json_module.dumps(checked, indent=1, ensure_ascii=False))
    else:
        methods = [dict(plan["method"])["name"] for plan in checked if isinstance(plan["method"], dict)]
        typer.echo(f"{recipe} is valid for {', '.join(map(str, methods))}.")
