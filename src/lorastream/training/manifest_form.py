"""What a model's manifest must look like before it is used: a hostile one names no file outside its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

TENSOR_FILE = re.compile(r"[a-z_]+-[0-9a-f]{12}\.safetensors")

Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    # The name of a file beside the manifest: never a path.
    file: Annotated[str, Field(pattern=f"^{TENSOR_FILE.pattern}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Step(_Form):
    number: Count | None = None
    after: Count | None = None
    date: str | None = None
    kind: str | None = None
    classes: list[str] = []
    again: list[str] = []
    images: Count | None = None
    accuracy_new: Fraction | None = None
    accuracy_old: Fraction | None = None
    bytes_added: int | None = None
    former: str | None = Field(default=None, alias="from")
    to: str | None = None
    forgotten: str | None = None


class _Manifest(_Form):
    parts: list[str]
    classes: list[list[str]]
    files: dict[str, _File]
    step: _Step | None = None


def fault_of_form(manifest: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the form of a manifest; None where nothing is.

    Classes, tensor files with their SHA-256, and the step are looked at. What else it says, those check who use it.
    """
    try:
        _Manifest.model_validate(dict(manifest))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if sorted(manifest["files"]) != manifest["parts"]:
        return f"files of {sorted(manifest['files'])}, though it names {manifest['parts']}"
    names = [name for task in manifest["classes"] for name in task]
    if len(set(names)) < len(names) or not all(names):
        return "class names that are empty or there twice"
    return None
