"""A recipe back to TOML text."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from lorastream.recipes.schema import Recipe


def to_toml(recipe: Recipe) -> str:
    """Return TOML that reads back as an equal recipe; keys that hold nothing are left out, as TOML has no null."""
    document = recipe.resolved()
    lines = [f"{key} = {_value(value)}" for key, value in document.items() if not isinstance(value, dict)]
    for section in ("data", "stream", "backbone", "method", "training"):
        lines += ["", f"[{section}]", *_pairs(document[section])]
    for name, changes in recipe.methods.items():
        lines += ["", f"[methods.{_key(name)}]", *_pairs(changes)]
    for name, measured in document.get("published", {}).items():
        for kind, figures in measured.items():
            lines += ["", f"[published.{_key(name)}.{kind}]", *_pairs(figures)] if figures else []
    return "\n".join(lines) + "\n"


def _pairs(table: dict[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_pairs(cast("dict[str, Any]", value))) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(entry) for entry in cast("list[Any]", value)) + "]"
    if isinstance(value, float):
        return repr(value)
    # JSON spells text, whole numbers and booleans as TOML does, but for one control character it leaves bare.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
