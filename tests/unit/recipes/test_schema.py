"""A recipe is typed and has no unknown keys; resolving it for a method lays what differs over what is shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from lorastream.data.transforms import NORMALISATIONS, TEST_PRESETS, TRAIN_PRESETS
from lorastream.methods import preset_training
from lorastream.recipes import load
from lorastream.recipes.schema import DataSection, Recipe, laid_over, resolve

DOCUMENT: dict[str, Any] = {
    "data": {"source": "digits"},
    "stream": {"tasks": 5},
    "backbone": {"name": "glyph_vit"},
    "method": {"name": "sd_lora", "rank": 4},
    "training": {"lr": 0.1, "epochs": 3},
    "methods": {"inf_lora": {"rank": 8, "training": {"lr": 0.2}}, "sd_lora": {"norm": "exact"}},
}


PRESET = "inf_lora_ca"
"""A preset with training settings, in a table of a table."""


def with_section(section: str, **values: Any) -> dict[str, Any]:
    return {**DOCUMENT, section: values}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents of valid recipes."""
    cut = draw(
        st.sampled_from(
            [{"tasks": 3}, {"sizes": [1, 2]}, {"classes": [["ü", "b"], ["c"]]}, {"sizes": [2], "order": "natural"}]
        )
    )
    free = st.dictionaries(st.sampled_from(["rank", "norm", "a b"]), st.integers() | st.booleans() | st.just(["x\x7f"]))
    aligned = st.fixed_dictionaries({}, optional={"epochs": st.integers(0, 9), "ridge": st.floats(0, 1)})
    training = draw(
        st.fixed_dictionaries(
            {}, optional={"lr": st.floats(1e-9, 9), "epochs": st.integers(0, 99), "alignment": st.none() | aligned}
        )
    )
    return {
        "name": draw(st.sampled_from(["", 'ü "x"', "a\nb"])),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "data": {"source": "digits", **draw(free)},
        "stream": cut,
        "backbone": {"name": "glyph_vit"},
        "method": {"name": draw(st.sampled_from(["m", PRESET])), **draw(free)},
        "training": training,
        "methods": draw(
            st.dictionaries(st.sampled_from(["m", "n", PRESET]), free.map(lambda f: {**f, "training": training}))
        ),
    }


@given(documents())
def test_dictionary_there_and_back(document: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(document)
    assert Recipe.model_validate(recipe.resolved()) == recipe


@given(documents(), st.sampled_from(["m", "n", "other", PRESET]))
def test_resolving_is_done_once(document: dict[str, Any], name: str) -> None:
    resolved = Recipe.model_validate(document).for_method(name)
    assert resolved.method.name == name
    assert resolved.methods == {}
    assert resolved.for_method(name) == resolved


def test_what_differs_lies_over_what_is_shared() -> None:
    recipe = Recipe.model_validate(DOCUMENT)
    other = recipe.for_method("inf_lora")
    assert (other.method.hyperparameters, other.training.lr, other.training.epochs) == ({"rank": 8}, 0.2, 3)
    own = recipe.for_method("sd_lora")
    assert (own.method.hyperparameters, own.training.lr) == ({"rank": 4, "norm": "exact"}, 0.1)


def test_training_of_a_preset_lies_between_the_recipes_and_that_of_its_own_table() -> None:
    aligned = preset_training(PRESET)["alignment"]
    shared = {**DOCUMENT, "training": {"lr": 0.1, "alignment": {"epochs": 2, "ridge": 0.5}}}
    plain = Recipe.model_validate(shared).for_method("sd_lora").training
    assert plain.alignment is not None
    assert (plain.alignment.epochs, plain.alignment.ridge) == (2, 0.5)
    over = Recipe.model_validate(shared).for_method(PRESET).training
    assert over.lr == 0.1
    assert over.alignment is not None
    assert over.alignment.model_dump(exclude_unset=True) == aligned
    own = {**shared, "methods": {PRESET: {"training": {"alignment": {"epochs": 3}}}}}
    changed = Recipe.model_validate(own).for_method(PRESET).training.alignment
    assert changed is not None
    assert changed.model_dump(exclude_unset=True) == {**aligned, "epochs": 3}


def test_training_that_was_written_for_a_preset_lies_over_it() -> None:
    written = {**DOCUMENT, "method": {"name": PRESET}, "training": {"alignment": {"epochs": 2}}}
    alignment = Recipe.model_validate(written).for_method(PRESET).training.alignment
    assert alignment is not None
    assert alignment.model_dump(exclude_unset=True) == {**preset_training(PRESET)["alignment"], "epochs": 2}


def test_an_override_lies_over_a_preset_and_stays_when_resolved_again() -> None:
    recipe = load.load("imagenet_r_n10_inf_lora", ["training.alignment.epochs=1", "training.lr=1e-2"], PRESET)
    assert recipe.training.alignment is not None
    assert (recipe.training.alignment.epochs, recipe.training.alignment.samples_per_class) == (1, 256)
    assert recipe.training.lr == 1e-2
    again = Recipe.model_validate(recipe.resolved())
    assert again.for_method(PRESET) == again == recipe


TABLES = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.none(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.integers(), max_size=3),
    max_leaves=5,
)


@given(TABLES, TABLES, TABLES)
def test_tables_are_laid_over_one_another(under: dict[str, Any], over: dict[str, Any], top: dict[str, Any]) -> None:
    assert laid_over(under, {}) == laid_over({}, under) == laid_over(under, under) == under
    laid = laid_over(under, over)
    assert set(laid) == set(under) | set(over)
    assert all(laid[key] == value for key, value in over.items() if not isinstance(value, dict))
    assert laid_over(laid, over) == laid
    assert laid_over({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "b": top}) == {"a": {"b": 3, "c": 2}, "b": top}


def test_hyperparameters_do_not_leak_to_another_method() -> None:
    assert Recipe.model_validate(DOCUMENT).for_method("prototypes").method.hyperparameters == {}
    assert "methods" not in resolve(DOCUMENT, "prototypes")


def test_method_names_hold_its_own_and_the_listed() -> None:
    assert Recipe.model_validate(DOCUMENT).method_names() == ["inf_lora", "sd_lora"]
    assert Recipe.model_validate({**DOCUMENT, "methods": {}}).method_names() == ["sd_lora"]


def test_source_options_are_the_root_and_what_is_no_key_of_the_section() -> None:
    data = DataSection.model_validate({"source": "folder", "root": "~/x", "test_fraction": 0.2, "max_side": 9})
    assert data.source_options() == {"root": str(Path.home() / "x"), "test_fraction": 0.2}
    assert DataSection(source="digits").source_options() == {}


@pytest.mark.parametrize(
    ("field", "names"),
    [("train_transform", TRAIN_PRESETS), ("test_transform", TEST_PRESETS), ("normalisation", NORMALISATIONS)],
)
def test_transforms_are_those_of_the_data_floor(field: str, names: dict[str, str]) -> None:
    assert set(DataSection.model_json_schema()["properties"][field]["enum"]) == set(names)


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (with_section("stream"), "stream"),
        (with_section("stream", tasks=2, sizes=[1]), "stream"),
        (with_section("stream", classes=[["a"], ["a"]]), "stream.classes"),
        (with_section("stream", tasks=2, order="natural", order_seed=1), "stream.order_seed"),
        (with_section("stream", classes=[["a"]], order_seed=1), "stream.order_seed"),
        (with_section("training", milestones=[3]), "training.milestones"),
        (with_section("training", schedule="multistep"), "training.milestones"),
    ],
)
def test_rules_between_keys(document: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(document)
    (details,) = caught.value.errors()
    assert [fault.where for fault in details["ctx"]["error"].faults] == [where]


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("stream", {"tasks": True}),
        ("stream", {"tasks": "5"}),
        ("stream", {"sizes": [2, 0]}),
        ("stream", {"sizes": []}),
        ("stream", {"classes": [[]]}),
        ("training", {"lr": float("nan")}),
        ("training", {"epochs": 1.5}),
        ("backbone", {"name": ""}),
        ("backbone", {"name": "x", "wieghts": "y"}),
        ("data", {"source": "digits", "option": float("inf")}),
    ],
)
def test_types_are_strict(section: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(with_section(section, **values))


def test_every_key_is_described() -> None:
    sections = [Recipe.model_fields[name].annotation for name in ("data", "stream", "backbone", "method", "training")]
    for section in sections:
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        assert all(field.description for field in section.model_fields.values())
