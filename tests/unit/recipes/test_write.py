"""What is written as TOML reads back as an equal recipe."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorastream.recipes import load
from lorastream.recipes.schema import Recipe
from lorastream.recipes.write import to_toml

VALUES = st.recursive(
    st.integers(-(2**53), 2**53)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aü\"\\\n\x7f\x00'"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "a b", "ü"]), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["rank", 'odd "key"', "größe"]), VALUES))
def test_any_hyperparameters_survive(further: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(
        {
            "data": {"source": "digits"},
            "stream": {"classes": [["ü", "b"], ["c"]]},
            "backbone": {"name": "glyph_vit"},
            "method": {"name": "m", **further},
            "methods": {"n.x": {**further, "training": {"lr": 1e-5}}},
        }
    )
    assert Recipe.model_validate(tomllib.loads(to_toml(recipe))) == recipe


@pytest.mark.parametrize("name", load.names())
def test_the_library_survives(name: str) -> None:
    recipe = load.read(name)
    assert Recipe.model_validate(tomllib.loads(to_toml(recipe))) == recipe
