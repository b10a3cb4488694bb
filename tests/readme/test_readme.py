"""README keeps its word: its Python runs, its commands exist, its tables and picture are those of the records."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from lorastream.cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(from lorastream.*?)```", README, re.DOTALL)
    assert len(code) == 1
    exec(compile(code[0], "README.md", "exec"), {})  # noqa: S102 (it is ours)
    printed = capsys.readouterr().out.splitlines()
    assert [line[:10] for line in printed[:2]] == ["('0', '1')", "('2', '3')"]
    assert printed[-1].startswith("[Prediction(name=")
    assert (tmp_path / "model" / "model.toml").is_file()


def test_its_commands_are_verbs() -> None:
    verbs = set(getattr(get_command(app), "commands", {}))
    used = set(re.findall(r"^lorastream (\w+)", README, re.MULTILINE))
    assert used
    assert used <= verbs


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) == {"demo", "test"} <= targets


def test_its_tables_those_of_the_docs_and_its_picture_are_those_of_the_records() -> None:
    refresh = _script("refresh_tables")
    for page in refresh.PAGES:
        text = page.read_text("utf-8")
        assert refresh.filled(text) == text, f"{page.name} is stale: run python scripts/refresh_tables.py"
    assert README.count("| sd_lora |") >= 2
    assert refresh.picture() == (ROOT / "docs" / "digits.svg").read_text("utf-8")


def test_its_links_lead_somewhere() -> None:
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if not t.startswith("http")]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
