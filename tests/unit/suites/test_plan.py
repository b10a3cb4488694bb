"""A suite's file names every run, in an order that gives a table early; its faults come all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorastream.errors import RecipeError
from lorastream.suites import plan


def _read(tmp_path: Path, text: str) -> plan.Suite:
    (tmp_path / "many.toml").write_text(text)
    return plan.read(tmp_path / "many.toml")


def _faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        _read(tmp_path, text)
    return [fault.where for fault in caught.value.faults]


def test_first_seeds_come_first_and_what_is_run_once_comes_last_among_them(tmp_path: Path) -> None:
    suite = _read(
        tmp_path,
        """
        root = "here"
        methods = ["joint", "sd_lora"]
        seeds = [7, 8]
        once = ["joint"]
        overrides = ["training.epochs=1"]
        [recipes.digits]
        [recipes.short]
        recipe = "digits"
        methods = ["prototypes"]
        seeds = [1]
        overrides = ["stream.tasks=2", "training.epochs=2"]
        """,
    )
    assert [run.label for run in suite.runs] == [
        *("digits/sd_lora/7", "short/prototypes/1", "digits/joint/7", "digits/sd_lora/8")
    ]
    short = suite.runs[1]
    assert (short.folder, short.settings.stream.tasks) == (Path("here/short/prototypes/1"), 2)
    assert short.settings.training.epochs == 2, "the recipe's own overrides lie over the suite's"
    assert short.arguments(resume=True) == [
        *("run", "digits", "training.epochs=1", "stream.tasks=2", "training.epochs=2"),
        *("seed=1", "--methods", "prototypes", "--out", "here/short/prototypes/1", "--resume"),
    ]


def test_without_methods_and_seeds_a_recipe_has_its_own(tmp_path: Path) -> None:
    suite = _read(tmp_path, "[recipes.digits]")
    assert {run.method for run in suite.runs} >= {"sd_lora", "sequential_lora"}
    assert {run.seed for run in suite.runs} == {0}
    assert (suite.root, suite.retries, suite.name) == (Path("runs/many"), 1, "many")


def test_all_faults_come_at_once_with_their_places(tmp_path: Path) -> None:
    text = """
    methods = ["prototypess"]
    [recipes.digits]
    overrides = ["training.lrr=3", "seed=4"]
    [recipes.digit]
    """
    assert _faults(tmp_path, text) == [
        "many.toml: recipes.digits: override seed",
        "many.toml: recipes.digits: override training.lrr",
        "many.toml: recipes.digits: method.name",
        "many.toml: recipes.digit: recipe",
    ]
    assert _faults(tmp_path, 'retry = 1\nretries = "a"\n[recipes.digits]\nseed = 3') == [
        "many.toml: retries",
        "many.toml: recipes.digits.seed",
        "many.toml: retry",
    ]
    assert _faults(tmp_path, 'once = ["x"]\nmethods = ["sd_lora"]\n[recipes.digits]') == ["many.toml: once"]


@pytest.mark.parametrize("name", ["a/b", "..", "", "/tmp", ".hidden", "a b"])  # noqa: S108 (a name, no file)
def test_a_recipe_is_called_as_a_folder_may_be(tmp_path: Path, name: str) -> None:
    assert _faults(tmp_path, f'[recipes."{name}"]\nrecipe = "digits"') == [f"many.toml: recipes.{name}"]
