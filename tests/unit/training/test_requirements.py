"""What a method needs of backbone and settings is asked before anything is made; the answer says what would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.errors import MethodError, RecipeError
from lorastream.training.requirements import check_alignable, check_answers, check_fits, check_ranks
from lorastream.training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("options", "largest"),
    [({"targets": ["query", "value"]}, 32), ({"targets": ["mlp_in"]}, 32), ({"targets": ["mlp_in", "mlp_out"]}, 32)],
)
def test_the_largest_rank_is_the_smaller_width(
    tiny_backbone: Callable[[], Backbone], options: dict[str, Any], largest: int
) -> None:
    check_fits(methods.build("sd_lora", {**options, "rank": largest}), tiny_backbone())
    for rank in (largest + 1, [1, largest + 1]):
        with pytest.raises(MethodError, match=f"1 to {largest}"):
            check_fits(methods.build("sd_lora", {**options, "rank": rank}), tiny_backbone())


def test_a_projection_that_the_backbone_has_not_is_named(tiny_backbone: Callable[[], Backbone]) -> None:
    backbone = tiny_backbone()
    del backbone.projections["key"]
    with pytest.raises(MethodError, match="'key'"):
        check_fits(methods.build("inf_lora", {}), backbone)


@pytest.mark.parametrize("name", ["prototypes", "finetune"])
def test_a_method_that_adapts_nothing_fits_everything(name: str, tiny_backbone: Callable[[], Backbone]) -> None:
    check_fits(methods.build(name, {}), tiny_backbone())


def test_heads_without_rows_are_not_aligned() -> None:
    aligned = TrainingSettings.model_validate({"alignment": {}})
    check_alignable(aligned, methods.build("sd_lora", {}), "sd_lora")
    check_alignable(TrainingSettings(), methods.build("prototypes", {}), "prototypes")
    with pytest.raises(RecipeError, match="prototypes, which has a prototype head"):
        check_alignable(aligned, methods.build("prototypes", {}), "prototypes")


def test_without_rows_there_are_no_answers_to_hold() -> None:
    held = TrainingSettings.model_validate({"penalties": {"logits": 0.25}})
    check_answers(held, methods.build("sd_lora", {}), "sd_lora")
    check_answers(TrainingSettings(), methods.build("ran_pac", {}), "ran_pac")
    with pytest.raises(RecipeError, match=r"(?s)training\.penalties\.logits.*ran_pac, which has a ridge head"):
        check_answers(held, methods.build("ran_pac", {}), "ran_pac")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "sequential_lora",
            {},
            r"sequential_lora, whose ranks are its own or go on.*leave training\.ranks out",
        ),
        ("energy_lora", {}, "energy_lora, whose ranks are its own"),
        ("ran_pac", {}, "finished with their task"),
        ("o_lora", {}, r'energy for o_lora.*gated_l1.*policy = "energy"'),
        ("sd_lora", {"normalise_current": True}, "energy for sd_lora"),
    ],
)
def test_ranks_that_are_not_to_be_chosen_are_refused(name: str, options: dict[str, Any], says: str) -> None:
    gated = TrainingSettings.model_validate({"ranks": {"policy": "gated_l1"}})
    with pytest.raises(RecipeError, match=rf"(?s)training\.ranks\.policy.*{says}"):
        check_ranks(gated, methods.build(name, options), name)


def test_ranks_that_may_be_chosen_are() -> None:
    for policy in ("energy", "gated_l1"):
        settings = TrainingSettings.model_validate({"ranks": {"policy": policy}})
        check_ranks(settings, methods.build("sd_lora", {}), "sd_lora")
        check_ranks(settings, methods.build("ran_pac_lora", {}), "ran_pac_lora")
