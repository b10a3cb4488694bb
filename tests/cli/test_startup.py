"""The command starts at once: help, lists and reports load no torch. And it is what it is from a real shell too."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SLOWEST_HELP = 1.5  # seconds on a busy machine; the target is 0.5 s on a quiet one
WATCHED = ("torch", "timm", "accelerate", "torchvision", "sklearn", "matplotlib")
SHELL = [sys.executable, "-m", "lorastream"]
NAMED_MODULES = f"""
import sys
from lorastream.cli.main import main
try:
    main()
finally:
    print(",".join(name for name in {WATCHED!r} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "typed", [("--help",), ("run", "--help"), ("list",), ("list", "--json"), ("report",), ("--version",)], ids=" ".join
)
def test_what_needs_no_torch_loads_none(
    typed: tuple[str, ...], lorastream: Callable[..., Any], tiny: tuple[str, ...]
) -> None:
    if typed == ("report",):
        assert lorastream("run", *tiny, "--methods", "prototypes").code == 0
    done = subprocess.run([sys.executable, "-c", NAMED_MODULES, *typed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "\n")


def test_help_loads_neither_pydantic_nor_rich() -> None:
    """They take longer than all the rest of it."""
    code = NAMED_MODULES.replace(repr(WATCHED), repr(("pydantic", "rich.console", "numpy")))
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "\n")


def test_help_is_there_at_once() -> None:
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([*SHELL, "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - begun)
    assert statistics.median(seconds) < SLOWEST_HELP


def test_a_terminal_that_knows_few_signs_gets_others(lorastream: Callable[..., Any], tiny: tuple[str, ...]) -> None:
    assert lorastream("run", *tiny, "--seeds", 2, "--out", "runs").code == 0
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*SHELL, "report"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "After two tasks: sd_lora" in done.stdout


def test_control_c_ends_a_real_run_with_130_and_a_record(tmp_path: Path) -> None:
    words = "run digits data.source=synthetic data.n_classes=60 data.images_per_class=1 data.test_images_per_class=1"
    words += " stream.tasks=60 training.epochs=1 backbone.name=test_vit.r160_in1k backbone.pretrained=false"
    words += " backbone.image_size=32 --out cut"
    running = subprocess.Popen([*SHELL, *words.split()], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stderr is not None
    told = ""
    for line in running.stderr:
        told += line
        if "task 1 of 60 learnt" in line:
            running.send_signal(signal.SIGINT)
            break
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, ""), told + err
    on = f"Go on where it stopped: lorastream {words} --resume"
    assert err.splitlines()[-2:] == [on, "Interrupted."]
    assert "Traceback" not in err
    assert '"status": "interrupted"' in (tmp_path / "cut/record.json").read_text()
