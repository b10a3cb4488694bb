"""Suites of runs that cost nothing: in the place of `lorastream` stands a script that writes a record, or does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lorastream.suites import attempt, plan

STAND_IN = """
import json, pathlib, signal, sys, time
words = sys.argv[1:]
folder = pathlib.Path(words[words.index("--out") + 1])
method = words[words.index("--methods") + 1]
folder.mkdir(parents=True, exist_ok=True)
with (folder / "calls.txt").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
tried = len((folder / "calls.txt").read_text().splitlines())

def write(status):
    recipe = {"name": "digits", "method": {"name": method}}
    (folder / "record.json").write_text(json.dumps({"schema": 1, "recipe": recipe, "status": status}))

def stopped(*_):
    write("interrupted")
    sys.exit(130)

print(f"{method}, seed 0: task 1 of 2 learnt", file=sys.stderr, flush=True)
signal.signal(signal.SIGINT, stopped)
if method == "joint":
    sys.exit("One mistake") if tried > 9 else sys.exit(2)
if method == "finetune" and tried == 1:
    write("failed")
    print("One failure", "it burst", sep="\\n", file=sys.stderr)
    sys.exit(1)
if method == "sequential_lora":
    write("running")
    sys.exit(1)
if method == "lora_sum" and tried == 1:
    write("running")
    print("under way", flush=True)
    time.sleep(60)
write("finished")
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let attempts start a script in place of lorastream, and return it."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(attempt, "PROGRAM", (str(script),))
    monkeypatch.chdir(tmp_path)
    return script


@pytest.fixture
def suite_of(tmp_path: Path) -> Callable[..., plan.Suite]:
    """Read a suite of digits with some methods."""

    def make(*methods: str, seeds: tuple[int, ...] = (0,), retries: int = 1) -> plan.Suite:
        file = tmp_path / "many.toml"
        names = ", ".join(f'"{name}"' for name in methods)
        file.write_text(f"methods = [{names}]\nseeds = {list(seeds)}\nretries = {retries}\n[recipes.digits]\n")
        return plan.read(file)

    return make
