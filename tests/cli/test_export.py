"""`export` writes beside the model, says how near it is and how to load it; a mistake changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorastream import Learner

Command = Callable[..., Any]


@pytest.fixture
def model() -> Path:
    """Save a learner that knows three classes, as if it had learnt them."""
    learner = Learner("glyph_vit", "sd_lora")
    for names in (["alpha", "beta"], ["gamma"]):
        learner.model.grow(names)
        adapters = learner.model.adapt(("query", "value"))
        adapters.grow(2, generator=torch.Generator().manual_seed(1), up_std=0.05)
        adapters.freeze()
    return learner.save("model")


def test_it_says_what_was_written_how_near_it_is_and_how_to_load_it(lorastream: Command, model: Path) -> None:
    told = lorastream("export", model, "--to", "timm")
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0].startswith("Written for timm to model-timm, 4.8 MB:")
    assert [line.split()[0] for line in lines[1:6]] == sorted(path.name for path in Path("model-timm").iterdir())
    assert "Largest difference of any logit: " in told.out
    assert "on 8 seeded images (passes up to 1e-04)." in " ".join(told.out.split())
    loading = lines[lines.index("Load it:") + 1 :]
    assert 0 < len(loading) <= 5
    assert any('checkpoint_path="model-timm/model.safetensors"' in line for line in loading)
    assert all(len(line) <= 80 for line in lines[: lines.index("Load it:")])


def test_json_is_all_there_is_on_standard_output(lorastream: Command, model: Path) -> None:
    told = lorastream("export", model, "--to", "peft", "--out", "adapter", "--json")
    document = json.loads(told.out)
    assert (told.code, told.err, document["folder"], document["target"]) == (0, "", "adapter", "peft")
    assert 0 <= document["largest_difference"] <= 1e-4
    assert {"adapter_config.json", "adapter_model.safetensors", "classes.json"} <= document["files"].keys()


def test_pictures_of_the_user_are_compared_on(lorastream: Command, model: Path, draw: Callable[..., None]) -> None:
    draw("pictures", "a", "b", images=2)
    told = lorastream("export", model, "--to", "torch", "--pictures", "pictures")
    assert told.code == 0
    assert "on 4 pictures of pictures" in told.out


def test_a_difference_above_the_tolerance_is_a_failure(lorastream: Command, model: Path, files: Any) -> None:
    assert lorastream("export", model, "--to", "timm").code == 0
    before = files()
    told = lorastream("export", model, "--to", "timm", "--tolerance", 0)
    assert (told.code, told.out) == (1, "")
    assert "One failure" in told.err
    assert "nothing on disk was changed" in told.err
    assert files() == before


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("nowhere", "--to", "timm"), ("nowhere", "no such folder", "give the folder that")),
        (("model",), ("missing option '--to'", "see lorastream export --help")),
        (("model", "--to", "tim"), ("'tim'", "did you mean 'timm'?")),
        (("model", "--to", "timm", "--out", "model"), ("an earlier export", "--out PATH")),
        (("model", "--to", "timm", "--pictures", "none"), ("--pictures none", "no such folder", "leave it out")),
        (("model", "--to", "timm", "--tolerance", "-1"), ("--tolerance", "see lorastream export --help")),
        (("model", "--to", "timm", "--weights", "none"), ("backbone.weights", "no file at none")),
    ],
    ids=" ".join,
)
def test_mistakes(typed: tuple[str, ...], told: tuple[str, ...], lorastream: Command, model: Path, files: Any) -> None:
    assert model.is_dir()
    before = files()
    got = lorastream("export", *typed)
    assert (got.code, got.out) == (2, "")
    message = " ".join(got.err.split())
    assert all(part in message for part in told), message
    assert "Traceback" not in got.err
    assert files() == before


def test_a_missing_extra_names_the_line_that_installs_it(
    lorastream: Command, model: Path, monkeypatch: pytest.MonkeyPatch, files: Any
) -> None:
    before = files()
    monkeypatch.setattr("lorastream.export.write.find_spec", lambda _name: None)
    got = lorastream("export", model, "--to", "onnx")
    assert got.code == 2
    assert "pip install 'lorastream[export]'" in got.err
    assert files() == before


def test_the_place_beside_a_model_is_named_after_both() -> None:
    from lorastream.cli.export import beside

    assert beside(Path("runs/a/model"), "onnx") == Path("runs/a/model-onnx")
    assert beside(Path(), "hf") == Path.cwd().parent / f"{Path.cwd().name}-hf"
