"""What a suite's file may say."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from lorastream.errors import Fault, RecipeError
from lorastream.recipes.schema import Place
from lorastream.recipes.section import Section

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
Methods = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1)]
Overrides = Annotated[tuple[str, ...], Field(strict=False)]

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RecipeOfSuite(Section):
    """`[recipes.<name>]`: one recipe of a suite, and what differs for it."""

    recipe: str | None = Field(
        default=None, min_length=1, description="recipe of the library, or a TOML file; None: the name of this table"
    )
    methods: Methods | None = Field(default=None, description="methods of this recipe; None: those of the suite")
    seeds: Seeds | None = Field(default=None, description="seeds of this recipe; None: those of the suite")
    overrides: Overrides = Field(
        default=(),
        description="changes to this recipe, key=value as `lorastream run` takes them, laid over the suite's",
    )


class SuiteFile(Section):
    """A suite as it is written: every method of every recipe with every seed."""

    root: Place | None = Field(
        default=None, description="folder of all runs, <root>/<recipe>/<method>/<seed>; None: runs/<name of the file>"
    )
    methods: Methods | None = Field(
        default=None, description="methods to run; None: all that a recipe has settings for"
    )
    seeds: Seeds | None = Field(default=None, description="seeds to run; None: the recipe's own")
    once: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="methods that are run with the first seed only, such as joint, which is long"
    )
    overrides: Overrides = Field(default=(), description="changes to every recipe, key=value")
    retries: int = Field(default=1, ge=0, le=100, description="how often a run that failed is tried again")
    recipes: dict[str, RecipeOfSuite] = Field(min_length=1, description="the recipes, a table each")

    @model_validator(mode="after")
    def _names_are_folders(self) -> Self:
        faults = [
            Fault(
                f"recipes.{name}",
                "a name of letters, digits, dots, dashes and underscores: a folder is called so",
                repr(name),
                f'call the table otherwise and write recipe = "{name}" in it',
            )
            for name in self.recipes
            if not _FOLDER_NAME.fullmatch(name)
        ]
        if faults:
            raise RecipeError.of(faults)
        return self
