"""No pickle is opened that could run code, no recipe names code, and no manifest names a file outside its root."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import lorastream
from lorastream.backbones.weights import read_state_dict
from lorastream.data.benchmarks import manifest as splits
from lorastream.errors import BackboneError, CheckpointError, DataError, RecipeError
from lorastream.recipes import build
from lorastream.training import checkpoint, manifest

SOURCES = sorted(Path(lorastream.__file__).parent.rglob("*.py"))
LEADS_OUT = ["../secret.safetensors", "/etc/passwd", "head-0123456789ab.safetensors/../../x", "a/b", "..", ""]


@cache
def _all_calls() -> list[tuple[str, str, ast.Call]]:
    trees = ((path, ast.parse(path.read_text("utf-8"))) for path in SOURCES)
    calls = ((path, node) for path, tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [(ast.unparse(node.func), f"{path.name}:{node.lineno}", node) for path, node in calls]


def _calls(name: str) -> list[tuple[str, ast.Call]]:
    return [(where, call) for called, where, call in _all_calls() if called == name]


def test_torch_load_takes_tensors_alone() -> None:
    calls = _calls("torch.load")
    assert calls
    for where, call in calls:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("weights_only") == "True", where


RUNS_CODE = ("eval", "exec", "os.system", "pickle.load", "pickle.loads", "joblib.load", "torch.jit.load")
RUNS_CODE += ("yaml.unsafe_load", "yaml.full_load", "marshal.loads", "shelve.open", "runpy.run_path")


@pytest.mark.parametrize("name", RUNS_CODE)
def test_nothing_is_called_that_runs_what_it_reads(name: str) -> None:
    assert [where for where, _ in _calls(name)] == []


def test_numpy_reads_no_pickle() -> None:
    for where, call in _calls("np.load"):
        assert "allow_pickle=True" not in ast.unparse(call), where


class Trap:
    """What a hostile pickle does when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def test_weights_that_would_run_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Trap()}, tmp_path / "weights.pt")
    with pytest.raises(BackboneError, match="could run code"):
        read_state_dict(tmp_path / "weights.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["os:system", "builtins.eval", "lorastream.errors", "../method.py", "/tmp/method.py"])  # noqa: S108
@pytest.mark.parametrize("key", ["method.name", "data.source"])
def test_a_recipe_names_no_code(name: str, key: str) -> None:
    with pytest.raises(RecipeError):
        build.load("digits", [f'{key}="{name}"'])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write a model beside a file that it has no business with."""
    folder = tmp_path / "model"
    checkpoint.write_model(folder, {"seed": 0}, [["cat"]], {"head": {"weight": torch.ones(2)}}, step={"kind": "save"})
    (tmp_path / "secret.safetensors").write_bytes(next(folder.glob("head-*")).read_bytes())
    return folder


@pytest.mark.parametrize("name", LEADS_OUT)
@pytest.mark.parametrize("file", ["model.toml", "history/0001.toml"])
def test_a_model_names_no_file_outside_its_folder(model: Path, name: str, file: str) -> None:
    own = next(model.glob("head-*")).name
    (model / file).write_text((model / file).read_text().replace(own, name))
    with pytest.raises(CheckpointError, match=r"files\.head\.file"):
        manifest.history(model)
    with pytest.raises(CheckpointError, match=r"files\.head\.file"):
        checkpoint.read_model(model, step=None if file == "model.toml" else 1)


def test_a_link_in_a_model_is_followed_only_to_the_bytes_that_were_written(model: Path, tmp_path: Path) -> None:
    """Caches of hubs are made of links; what decides is the SHA-256."""
    tensors = next(model.glob("head-*"))
    tensors.unlink()
    tensors.symlink_to(tmp_path / "secret.safetensors")
    assert checkpoint.read_model(model)[1]["head"]["weight"].tolist() == [1, 1]
    tensors.unlink()
    tensors.symlink_to("/etc/hostname")
    with pytest.raises(CheckpointError, match="another SHA-256"):
        checkpoint.read_model(model)


@pytest.mark.parametrize("path", ["../x.png", "/etc/passwd", "a/../../x.png", "..", "a\\..\\x.png"])
@pytest.mark.parametrize("place", ["train", "test", "folder"])
def test_a_split_names_no_image_outside_its_root(tmp_path: Path, path: str, place: str) -> None:
    made = splits.Manifest(
        benchmark="imagenet_r",
        split="seed0",
        kind="drawn",
        rule="r",
        folder="images",
        classes=(splits.SplitClass(name="wren", train=("wren/1.png",), test=("wren/2.png",)),),
    )
    document = made.signed().model_dump(mode="json")
    (document if place == "folder" else document["classes"][0])[place] = path if place == "folder" else [path]
    file = tmp_path / "seed0.json"
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match="stays below the root"):
        splits.read(file)
