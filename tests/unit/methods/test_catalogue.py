"""A file with the three hooks is a method, a file of options a preset, an entry point of another package a method too.

Listing them loads no torch.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
import types
from collections.abc import Generator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from lorastream.errors import MethodError
from lorastream.methods import build, catalogue, load_class, names, preset_training, summary
from lorastream.methods.protocol import hyper_parameters
from lorastream.training.settings import TrainingSettings

OURS = ["finetune", "joint", "prototypes", "sd_lora", "sequential_lora"]
PRESETS = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in catalogue.PRESETS.glob("*.toml")}


def test_names_are_the_files_that_define_a_method() -> None:
    assert [name for name in names() if name in OURS] == OURS
    assert not {"losses", "protocol", "catalogue", "__init__"} & set(names())
    assert names() == sorted(set(names()))


@pytest.mark.parametrize("name", OURS)
def test_a_class_is_found_by_the_name_of_its_file(name: str) -> None:
    assert load_class(name).__module__ == f"lorastream.methods.{name}"


def test_listing_loads_no_torch() -> None:
    program = (
        "import sys; from lorastream.methods import names, preset_training, summary; "
        "print({n: (summary(n), preset_training(n)) for n in names()}['sd_lora'][0].partition(':')[0]); "
        "assert not {'torch', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("SD-LoRA", 0), done.stderr


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(MethodError, match="did you mean 'sd_lora'"):
        build("sdlora", {})


def test_every_fault_of_the_hyper_parameters_is_named() -> None:
    with pytest.raises(MethodError) as caught:
        build("sd_lora", {"norm": "prodct", "rnak": 3, "targets": ["query", "vlaue"], "magnitude_init": 0}, where="m")
    faults = {fault.where: fault for fault in caught.value.faults}
    assert set(faults) == {"m.norm", "m.rnak", "m.targets", "m.magnitude_init"}
    assert "'product'" in faults["m.norm"].next_step
    assert "'rank'" in faults["m.rnak"].next_step
    assert "'value'" in faults["m.targets"].next_step
    assert faults["m.magnitude_init"].expected == "greater than 0"
    assert "magnitudes_" not in faults["m.rnak"].expected


def test_learnt_state_is_no_hyper_parameter() -> None:
    with pytest.raises(MethodError, match="magnitudes_"):
        build("sd_lora", {"magnitudes_": None})


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Pretend that another package brings a method, and one under a name that is taken."""
    module = types.ModuleType("other_package")
    module.Echo = type("Echo", (), {})  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "other_package", module)
    points = [EntryPoint(name, "other_package:Echo", catalogue.ENTRY_POINTS) for name in ("echo", "sd_lora")]
    asked: list[str] = []

    def entry_points(*, group: str) -> list[EntryPoint]:
        asked.append(group)
        return points

    monkeypatch.setattr(catalogue, "entry_points", entry_points)
    for cached in (catalogue.names, catalogue._foreign):
        cached.cache_clear()
    yield
    assert asked == ["lorastream.methods"]
    for cached in (catalogue.names, catalogue._foreign):
        cached.cache_clear()


@pytest.mark.usefixtures("foreign")
def test_a_method_of_another_package_is_found() -> None:
    assert "echo" in names()
    assert summary("echo") == "from other_package:Echo"
    assert load_class("echo").__name__ == "Echo"
    assert type(build("echo", {})).__name__ == "Echo"


@pytest.mark.usefixtures("foreign")
def test_a_foreign_method_takes_no_name_of_ours() -> None:
    assert names().count("sd_lora") == 1
    assert load_class("sd_lora").__module__ == "lorastream.methods.sd_lora"
    assert summary("sd_lora").startswith("SD-LoRA")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_plain_method_with_options_that_it_takes(name: str) -> None:
    preset = PRESETS[name]
    assert set(preset) <= {"base", "summary", "options", "training"}
    assert preset["base"] in set(names()) - set(PRESETS)
    assert name not in catalogue._files()
    made = build(name, {})
    assert type(made) is load_class(preset["base"]) is load_class(name)
    chosen, default = hyper_parameters(made), hyper_parameters(build(preset["base"], {}))
    assert chosen == default | {key: chosen[key] for key in preset.get("options", {})}
    assert chosen != default or preset_training(name)
    TrainingSettings.model_validate(preset_training(name))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_in_a_line_what_it_is_and_where_it_comes_from(name: str) -> None:
    assert summary(name) == PRESETS[name]["summary"]
    assert "\n" not in summary(name)
    assert len(summary(name)) <= 110
    assert any(year in summary(name) for year in ("2023", "2024", "2025", "2026", "commit")), "a source"


@pytest.fixture
def preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """Pretend that there is one preset, `small`."""
    text = 'base = "sd_lora"\nsummary = "small, 2026"\noptions = { rank = 2, norm = "exact" }\n'
    (tmp_path / "small.toml").write_text(text + "training = { epochs = 3, momentum = 0.5 }\n", "utf-8")
    monkeypatch.setattr(catalogue, "PRESETS", tmp_path)
    for cached in (catalogue.names, catalogue._presets):
        cached.cache_clear()
    yield "small"
    for cached in (catalogue.names, catalogue._presets):
        cached.cache_clear()


def test_a_preset_needs_its_file_and_no_more(preset: str) -> None:
    assert preset in names()
    assert summary(preset) == "small, 2026"
    assert load_class(preset) is load_class("sd_lora")
    assert hyper_parameters(build(preset, {})) == hyper_parameters(build("sd_lora", {"rank": 2, "norm": "exact"}))


def test_options_lie_over_those_of_a_preset(preset: str) -> None:
    made = hyper_parameters(build(preset, {"rank": 5}))
    assert (made["rank"], made["norm"]) == ((5,), "exact")


def test_faults_of_a_preset_name_it(preset: str) -> None:
    with pytest.raises(MethodError) as caught:
        build(preset, {"rnak": 3, "rank": 0}, where="m")
    rank, unknown = caught.value.faults
    assert (rank.where, rank.next_step) == ("m.rank", "choose another value for rank of small")
    assert unknown.expected.startswith("a hyper-parameter of small: ")
    with pytest.raises(MethodError, match="did you mean 'small'"):
        build("smal", {})


def test_training_of_a_preset_is_the_callers_own(preset: str) -> None:
    settings = preset_training(preset)
    assert settings == {"epochs": 3, "momentum": 0.5}
    settings["epochs"] = 9
    assert preset_training(preset) == {"epochs": 3, "momentum": 0.5}
    assert preset_training("sd_lora") == preset_training("no such method") == {}
