"""What every part of a record is: frozen, with no unknown keys, and without NaN and infinity, which JSON has not."""

from __future__ import annotations

import math
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class Document(BaseModel):
    """A part of a record; NaN and infinity become None."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _none_for_not_finite(cls, value: Any) -> Any:  # noqa: ANN401 what was given is not yet known to be anything
        return _finite(value)


def _finite(value: Any) -> Any:  # noqa: ANN401 walks values of any JSON type
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return type(value)(_finite(entry) for entry in cast("list[Any]", value))
    return value
