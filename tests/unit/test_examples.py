"""The examples run as they stand, in seconds, and learn."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
CHANCE = 0.1


@pytest.mark.parametrize("name", ["plain_loop", "hf_trainer"])
def test_it_runs_and_learns(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    accuracy = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    assert accuracy > 4 * CHANCE
    assert f"accuracy on all ten digits: {100 * accuracy:.1f} %" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
