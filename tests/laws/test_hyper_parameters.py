"""A hyper-parameter that is unknown or out of range is an error that names it; a shipped recipe runs on anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.sources import load as load_source
from lorastream.errors import MethodError
from lorastream.experiment import run
from lorastream.methods.protocol import Method, hyper_parameters
from lorastream.recipes import load as recipes

OUT_OF_RANGE = {int: -1, float: -1.0, str: "nonsense", bool: "perhaps", tuple: ("nonsense",), type(None): "nonsense"}


@pytest.mark.parametrize("name", methods.names())
def test_every_hyper_parameter_out_of_range_is_named(name: str) -> None:
    default = methods.build(name, {})
    for key, value in hyper_parameters(default).items():
        with pytest.raises(MethodError, match=rf"method\.{key}"):
            methods.build(name, {key: OUT_OF_RANGE[type(value)]})


@pytest.mark.parametrize("name", methods.names())
def test_an_unknown_hyper_parameter_is_named_with_the_nearest(name: str) -> None:
    with pytest.raises(MethodError, match="rnak"):
        methods.build(name, {"rnak": 3})


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(MethodError) as caught:
        methods.build("sd_lora", {"rank": 0, "norm": "l2", "nope": 1})
    assert [fault.where for fault in caught.value.faults] == ["method.rank", "method.norm", "method.nope"]


@pytest.mark.parametrize("name", methods.names())
def test_a_method_says_what_it_is(name: str) -> None:
    method = methods.build(name, {})
    assert isinstance(method, Method)
    assert dataclasses.is_dataclass(method)
    assert methods.summary(name)
    assert all(key in (type(method).__doc__ or "") for key in hyper_parameters(method))


@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_runs_two_steps_on_synthetic_data(
    name: str, tiny_backbone: Callable[[], Backbone], tmp_path: Path
) -> None:
    dataset = load_source("synthetic", n_classes=4, images_per_class=2, test_images_per_class=1, size=16)
    for method in recipes.read(name).method_names():
        changes: list[str] = ["stream.tasks=2", "training.epochs=1", "training.batch_size=2"]
        recipe = recipes.load(name, changes, method=method)
        record, folder = run(recipe, tmp_path / method, dataset=dataset, backbone=tiny_backbone())
        assert record.status == "finished"
        assert (folder / "record.json").is_file()
        assert (folder / "model" / "model.toml").is_file()
        assert _steps(record.epochs) in ([], [0], [0, 1]), "no task learns by steps, the first alone, or every one"


def _steps(epochs: Any) -> list[int]:
    return [epoch.task for epoch in epochs]
