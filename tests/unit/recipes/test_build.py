"""Settings given outside a recipe are checked like those of one, and lie over what a preset brings."""

from __future__ import annotations

import pytest

from lorastream.errors import RecipeError
from lorastream.methods import preset_training
from lorastream.recipes.build import check, load, training_settings
from lorastream.training.settings import TrainingSettings


def test_given_settings_lie_over_those_of_a_preset() -> None:
    settings = training_settings({"lr": 0.5, "alignment": {"epochs": 1}}, where="x", method="inf_lora_ca")
    assert settings.alignment is not None
    aligned = settings.alignment.model_dump(exclude_unset=True)
    assert aligned == {**preset_training("inf_lora_ca")["alignment"], "epochs": 1}
    assert settings.lr == 0.5


def test_what_a_preset_brings_can_be_left_out() -> None:
    assert training_settings({"alignment": None}, where="x", method="inf_lora_ca").alignment is None


@pytest.mark.parametrize("method", [None, "sd_lora", "no such method"])
def test_without_a_preset_they_are_the_given_and_the_defaults(method: str | None) -> None:
    assert training_settings({"lr": 0.5}, where="x", method=method) == TrainingSettings(lr=0.5)


def test_faults_of_given_settings_say_who_was_given_them() -> None:
    with pytest.raises(RecipeError) as caught:
        training_settings({"lr": -1, "alignment": {"epoch": 1}}, where="Learner", method="inf_lora_ca")
    assert {fault.where for fault in caught.value.faults} == {
        "Learner: training.lr",
        "Learner: training.alignment.epoch",
    }


def test_options_of_a_recipe_are_checked_with_those_of_its_preset() -> None:
    recipe = load("imagenet_r_n10_inf_lora", method="inf_lora_b5")
    check(recipe)
    with pytest.raises(RecipeError, match=r"(?s)method\.blcks.*hyper-parameter of inf_lora_b5.*'blocks'"):
        load("imagenet_r_n10_inf_lora", ["method.blcks=3"], method="inf_lora_b5")


def test_options_of_the_source_are_checked_before_anything_is_loaded() -> None:
    with pytest.raises(RecipeError) as caught:
        load("folder", ["data.root=nowhere", "data.test_fraction=half", "method.rank=0", "training.lr=-1"])
    assert {fault.where.rpartition(": ")[2] for fault in caught.value.faults} >= {
        "method.rank",
        "data source folder, option test_fraction",
    }
