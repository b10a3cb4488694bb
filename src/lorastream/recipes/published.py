"""What others measured on a recipe's protocol: figures with their source, never ours.

All figures are percent as printed by the source, and every one is quoted with where it stands. What nobody could verify
is not in a recipe; what was read by a machine says so.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lorastream.errors import Fault, RecipeError
from lorastream.recipes.section import Section

Percent = Annotated[float, Field(ge=0, le=100)]
Spread = Annotated[float, Field(ge=0, le=100)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]


class Figures(Section):
    """Two figures of one method, and where they stand."""

    average_accuracy: Percent = Field(description="after the last task, percent as printed")
    average_accuracy_spread: Spread | None = Field(default=None, description="of it over the runs, percent")
    average_incremental_accuracy: Percent = Field(description="mean of the accuracies after each task, percent")
    average_incremental_accuracy_spread: Spread | None = Field(default=None, description="of it over the runs, percent")
    spread: Literal["standard error", "standard deviation"] | None = Field(
        default=None, description="what the source says that its spreads are"
    )
    runs: int = Field(ge=1, description="how many runs the figures are means of")
    seeds: Seeds = Field(default=(), description="their seeds, where they are known")
    weighting: Literal["by image", "by task", "not stated"] = Field(
        default="by image", description="of the accuracy over tasks; the released codes print it by image"
    )
    source: str = Field(min_length=1, description="paper and table, or file and commit of a released log")
    note: str = Field(default="", description="what a reader must know before comparing")

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [self.average_accuracy_spread, self.average_incremental_accuracy_spread, self.spread]
        if len({value is None for value in given}) > 1:
            step = 'give both spreads and, for example, spread = "standard error", or none of the three'
            got = "some of the three" if self.spread is None else f'spread = "{self.spread}" with one of them missing'
            raise RecipeError.of([Fault("published", "two spreads and what they are, or none of it", got, step)])
        return self


class PaperFigures(Figures):
    """What a paper prints of one method."""

    provenance: Literal["confirmed", "transcribed", "read by machine"] = Field(
        description="how the figures came here: two or more independent sources agree, one transcription, or character "
        "recognition, whose digits may be wrong"
    )


class Published(Section):
    """What others measured with one method: as a paper prints it, and as a log that its authors released."""

    paper: PaperFigures | None = Field(default=None, description="the figures of a paper's table")
    log: Figures | None = Field(default=None, description="the figures of the authors' released log")
