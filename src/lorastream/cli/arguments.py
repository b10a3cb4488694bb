"""Arguments that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe of the library (see `lorastream list`), or a TOML file.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Changes to the recipe, such as training.lr=1e-3.",
        show_default=False,
    ),
]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="A model's folder, as `learn` and `run` write it.")]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The backbone's weights, if they were moved.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
