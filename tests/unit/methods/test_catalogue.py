"""A file with the three hooks is a method, an entry point of another package too, and listing them loads no torch."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Generator
from importlib.metadata import EntryPoint

import pytest

from lorastream.errors import MethodError
from lorastream.methods import build, catalogue, load_class, names, summary

OURS = ["finetune", "joint", "prototypes", "sd_lora", "sequential_lora"]


def test_names_are_the_files_that_define_a_method() -> None:
    assert [name for name in names() if name in OURS] == OURS
    assert not {"losses", "protocol", "catalogue", "__init__"} & set(names())
    assert names() == sorted(set(names()))


@pytest.mark.parametrize("name", OURS)
def test_a_class_is_found_by_the_name_of_its_file(name: str) -> None:
    assert load_class(name).__module__ == f"lorastream.methods.{name}"


def test_listing_loads_no_torch() -> None:
    program = (
        "import sys; from lorastream.methods import names, summary; "
        "print([summary(n) for n in names()][3].partition(':')[0]); assert 'torch' not in sys.modules"
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
    assert set(faults) == {"m.norm", "m.rnak", "m.targets.1", "m.magnitude_init"}
    assert "'product'" in faults["m.norm"].next_step
    assert "'rank'" in faults["m.rnak"].next_step
    assert "'value'" in faults["m.targets.1"].next_step
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
