"""A record can say what it ran with, on a machine with git or without, in a checkout or not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lorastream.runs import environment

PACKAGE = Path(environment.__file__).parents[1]


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Answer in git's place; what was asked lies under `asked`."""
    answers: dict[str, Any] = {"ls-files": "environment.py", "rev-parse": "abc123def456", "status": "", "asked": []}

    def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert options["check"]
        assert options["timeout"] > 0
        assert list(command[:2]) == ["git", "-C"]
        answers["asked"].append(list(command[2:]))
        answer = answers[command[3]]
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, 0, stdout=f"{answer}\n", stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    return answers


def test_versions_are_those_installed_and_none_where_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("torch", "no-such-package"))
    found = environment.versions()
    assert found["torch"] == version("torch")
    assert found["no-such-package"] is None
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "commit" in found


def test_everything_that_decides_a_run_is_listed() -> None:
    assert {"lorastream", "torch", "torchvision", "timm", "accelerate", "numpy"} <= environment.versions().keys()


def test_the_commit_of_a_clean_checkout(git: dict[str, Any]) -> None:
    assert environment.commit() == "abc123def456"
    assert {folder for folder, *_ in git["asked"]} == {str(PACKAGE)}


def test_a_change_anywhere_in_the_package_is_marked(git: dict[str, Any]) -> None:
    git["status"] = " M methods/sd_lora.py"
    assert environment.commit() == "abc123def456+"
    assert [str(PACKAGE), "status", "--porcelain", "--", "."] in git["asked"]


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("git"),
        subprocess.CalledProcessError(128, "git"),
        subprocess.TimeoutExpired("git", 5),
        PermissionError("git"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("step", ["ls-files", "rev-parse", "status"])
def test_without_git_or_outside_a_checkout_there_is_none(git: dict[str, Any], step: str, error: Exception) -> None:
    git[step] = error
    assert environment.commit() is None


def test_a_package_inside_somebody_elses_checkout_has_no_commit(git: dict[str, Any]) -> None:
    git["ls-files"] = ""
    assert environment.commit() is None


def test_the_processor_is_named_as_the_system_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "processor\t: 0\nmodel name\t: Quick CPU: 3 GHz\nprocessor\t: 1\nmodel name\t: Quick CPU: 3 GHz\n"
    monkeypatch.setattr(Path, "read_text", lambda *_: told)
    assert environment.processor() == "Quick CPU: 3 GHz"
    monkeypatch.setattr(Path, "read_text", lambda *_: "processor\t: 0\n")
    assert environment.processor()


def test_where_the_system_tells_nothing_the_processor_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refused)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert environment.processor() == "riscv64"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("flags\t\t: fpu sse avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu sse avx2 bf16ish\n", False),
        ("processor\t: 0\n", None),
    ],
)
def test_whether_the_processor_multiplies_bfloat16(
    monkeypatch: pytest.MonkeyPatch, told: str, expected: bool | None
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: told)
    assert environment.has_bf16_units() is expected
