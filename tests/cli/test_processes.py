"""Of several processes one speaks and one writes, the failure of any ends all, and others may go on with their run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from groups import environment_of, free_port

Command = Callable[..., Any]
OTHERS = {
    "two, ended, one": (2, "SIGTERM", 1),
    "two, killed, three": (2, "SIGKILL", 3),
    "one, ended, three": (1, "SIGTERM", 3),
    "three, killed, two": (3, "SIGKILL", 2),
}
"""How many processes begin a run, what stops them, and how many go on."""
RECIPE = (
    *("digits", "data.source=synthetic", "data.n_classes=4", "data.images_per_class=6", "data.size=16"),
    *("data.test_images_per_class=4", "stream.tasks=2", "training.epochs=20", "training.batch_size=4"),
)
SCRIPT = '''
"""The command line, but for process 1 that comes to an end at its third batch."""

import os
import signal
import sys

from lorastream.cli.main import main
from lorastream.errors import DataError
from lorastream.methods.sd_lora import SDLoRA

learn, calls = SDLoRA.loss, []


def fails(self, model, batch, task):
    calls.append(batch)
    if len(calls) == 3 and os.environ["RANK"] == "1":
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if sys.argv[1] == "unforeseen":
            raise LookupError("a fault of ours")
        raise DataError("cat.png", expected="an image", got="a torn file", next_step="mend it")
    return learn(self, model, batch, task)


SDLoRA.loss = fails
how, sys.argv = sys.argv[1], sys.argv[:1] + sys.argv[2:]
sys.argv[0] = how and "lorastream"
main()
'''


def _script(folder: Path, how: str) -> Path:
    path = folder / "script.py"
    path.write_text(SCRIPT.replace("sys.argv[1] ==", f"{how!r} =="), "utf-8")
    return path


@pytest.mark.timeout(280)
def test_what_one_process_fails_of_is_said_once_and_ends_torchrun(tmp_path: Path) -> None:
    """The reason, and whose it is, stands on the screen once; torchrun's own summary follows."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(_script(tmp_path, "torn")), "torn", "run", *RECIPE, "--out", str(tmp_path / "run")],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 1, "torchrun's code for any failure"
    ours = re.split(r"^[EW]\d{4} ", done.stderr, maxsplit=1, flags=re.MULTILINE)[0]
    assert ours.count("a torn file") == 1
    assert "On process 1 of 2, counted from 0:" in ours
    assert "One mistake\ncat.png" in ours
    cause = done.stderr.split("Root Cause")[1]
    assert re.search(r"rank +: 1 .*\n +exitcode +: 2", cause), "as torchrun sees it"
    assert "ProcessLost" not in done.stderr
    _check_record(tmp_path / "run", "process 1 of 2: cat.png")


@pytest.mark.timeout(280)
def test_a_killed_process_takes_the_other_along_within_seconds(tmp_path: Path) -> None:
    """No launcher is there to end it."""
    script = str(_script(tmp_path, "killed"))
    command = [sys.executable, script, "killed", "run", *RECIPE, "--out", str(tmp_path / "run")]
    port = free_port()
    started = [
        subprocess.Popen(
            command,
            env={**_environment(), **environment_of(rank, 2, port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    started[1].communicate(timeout=200)
    assert started[1].returncode == -signal.SIGKILL
    begun = time.monotonic()
    _, told = started[0].communicate(timeout=60)
    assert time.monotonic() - begun < 30, "within seconds, on a machine that others load"
    assert started[0].returncode == 1
    assert "On process 0 of 2, counted from 0:" in told
    assert "no word from one of them" in " ".join(told.split())
    assert "Traceback" not in told
    _check_record(tmp_path / "run", "no word from one of them")


def _check_record(folder: Path, reason: str) -> None:
    record = json.loads((folder / "record.json").read_text("utf-8"))
    assert record["status"] == "failed"
    assert reason in record["failure"]


def _environment() -> dict[str, str]:
    return {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one run that was left alone and of those that others went on with."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "cases.json").write_text(json.dumps(OTHERS), "utf-8")
    script = Path(__file__).with_name("resumed_by_others.py")
    command = [sys.executable, str(script), str(folder), str(folder / "cases.json")]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied only where the system can")
@pytest.mark.parametrize("case", OTHERS)
def test_another_number_of_processes_goes_on_to_the_same_result(others: Path, case: str) -> None:
    """Without --out, and on machines that share no disk: what the first process finds is what all go on from."""
    begin, how, go_on = OTHERS[case]
    codes = json.loads((others / "codes.json").read_text("utf-8"))[case]
    assert codes["begun"] == [{"SIGTERM": 143, "SIGKILL": -signal.SIGKILL}[how]] * begin
    assert codes["ended"] == [0] * go_on
    # Alone, the step under way is kept; of several processes each stops at once.
    stopped = f"in task 2, after 1 epoch{' and 2 steps' if begin == 1 else ''}"
    assert f"going on {stopped}\n" in (others / case / "ended.txt").read_text("utf-8")
    assert (others / case / "begun.txt").read_text("utf-8").count("Terminated.") == (how == "SIGTERM")
    record, tensors = _result(others / case)
    alone, expected = _result(others / "alone")
    assert record["status"] == "finished"
    assert record["accuracy_matrix"] == alone["accuracy_matrix"]
    assert [epoch["loss"] for epoch in record["epochs"]] == pytest.approx(
        [e["loss"] for e in alone["epochs"]], abs=1e-4
    )
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert_close(tensors[name], tensor, atol=1e-4, rtol=1e-4, msg=lambda text, at=name: f"{at}: {text}")
    for rank in range(1, max(begin, go_on)):
        assert not list((others / case / f"{rank}").iterdir()), "the first process alone writes"


def _result(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the record and the tensors of the one run that the first process of a case has made."""
    (run,) = (folder / "0/runs/digits/sd_lora").iterdir()
    assert sorted(path.name for path in run.iterdir()) == ["model", "record.json"]
    files = {path.name.partition("-")[0]: load_file(path) for path in (run / "model").glob("*.safetensors")}
    tensors = {f"{part}/{name}": tensor for part, own in files.items() for name, tensor in own.items()}
    return json.loads((run / "record.json").read_text("utf-8")), tensors


@pytest.mark.parametrize("arguments", [("learn", "folder", "--into", "model"), ("list", "methods")])
def test_other_verbs_refuse_to_be_shared(
    lorastream: Command, monkeypatch: pytest.MonkeyPatch, files: Callable[[], Any], arguments: tuple[str, ...]
) -> None:
    before = files()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        told = lorastream(*arguments)
        assert told.code == 2
        assert ("of all verbs only `run` shares its work" in " ".join(told.err.split())) is (rank == "0")
        assert told.out == ""
    assert files() == before


def test_a_mistake_that_all_make_is_said_by_the_first_of_a_machine(
    lorastream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank, local, speaks in (("0", "0", True), ("1", "1", False), ("2", "0", True), ("3", "1", False)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", local)
        told = lorastream("run", "no-such-recipe")
        assert told.code == 2
        assert ("no-such-recipe" in told.err) is speaks
