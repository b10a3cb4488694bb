"""A suite leaves finished runs alone, tries failed ones again, goes on with broken-off ones, and stops when told."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lorastream.suites import attempt
from lorastream.suites.carry_out import Standing, carry_out
from lorastream.suites.executors import LocalProcesses, threads_of_each
from lorastream.suites.plan import Suite
from lorastream.suites.state import found_in, found_in_all

Of = Callable[..., Suite]
pytestmark = pytest.mark.usefixtures("stand_in")


def _made(suite: Suite, *, jobs: int = 1, told: Callable[[Standing], None] = lambda _: None) -> list[Standing]:
    # The records of the stand-in hold no whole recipe, so what they are of is not compared here.
    found = {run.folder: found_in(run.folder) for run in suite.runs}
    return carry_out(suite, LocalProcesses(1), found=found, jobs=jobs, told=told)


def _calls(suite: Suite, number: int = 0) -> list[str]:
    path = suite.runs[number].folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_every_run_has_its_process_and_its_folder(suite_of: Of) -> None:
    suite = suite_of("prototypes", "sd_lora", seeds=(3, 4))
    assert [str(run.folder) for run in suite.runs] == [
        f"runs/many/digits/{method}/{seed}" for seed in (3, 4) for method in ("prototypes", "sd_lora")
    ]
    told: list[Standing] = []
    standings = _made(suite, jobs=2, told=told.append)
    assert [(s.state, s.attempts, s.code) for s in standings] == [("finished", 1, 0)] * 4
    assert _calls(suite) == [f"run digits seed=3 --methods prototypes --out {suite.runs[0].folder}"]
    assert "sd_lora, seed 0: task 1 of 2 learnt" in [line for s in told if s.state == "running" for line in s.said]
    assert "learnt" in (suite.runs[0].folder / attempt.LOG).read_text()


def test_what_is_finished_is_not_run_again(suite_of: Of) -> None:
    suite = suite_of("prototypes")
    _made(suite)
    assert [s.state for s in _made(suite)] == ["there"]
    assert len(_calls(suite)) == 1


def test_a_failed_run_is_tried_again_and_goes_on_from_where_it_was(suite_of: Of) -> None:
    suite = suite_of("finetune")
    (standing,) = _made(suite)
    assert (standing.state, standing.attempts) == ("finished", 2)
    assert [call.endswith("--resume") for call in _calls(suite)] == [False, True]


def test_one_that_fails_every_time_is_reported_with_its_last_lines_and_the_others_are_made(suite_of: Of) -> None:
    suite = suite_of("sequential_lora", "prototypes", retries=2)
    failed, finished = _made(suite)
    assert (failed.state, failed.attempts, failed.code) == ("failed", 3, 1)
    assert failed.said == ("sequential_lora, seed 0: task 1 of 2 learnt",)
    assert finished.state == "finished"
    assert [s.state for s in _made(suite)] == ["failed", "there"], "the same call tries it again"
    assert len(_calls(suite)) == 6


def test_a_users_mistake_is_not_tried_again(suite_of: Of) -> None:
    suite = suite_of("joint", retries=5)
    (standing,) = _made(suite)
    assert (standing.state, standing.attempts, standing.code) == ("failed", 1, 2)


def test_an_exit_without_a_finished_record_is_a_failure(
    suite_of: Of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing.py").write_text("")
    monkeypatch.setattr(attempt, "PROGRAM", (str(tmp_path / "nothing.py"),))
    (standing,) = _made(suite_of("prototypes", retries=0))
    assert (standing.state, standing.code) == ("failed", 0)


def test_control_c_stops_what_is_under_way_and_the_same_call_goes_on(suite_of: Of) -> None:
    suite, threads = suite_of("lora_sum", "prototypes"), threading.active_count()

    def interrupt(standing: Standing) -> None:
        if standing.said == ("under way",):
            os.kill(os.getpid(), signal.SIGINT)

    told: list[Standing] = []
    with pytest.raises(KeyboardInterrupt):
        _made(suite, told=lambda standing: (told.append(standing), interrupt(standing), None)[-1])
    assert [(s.state, s.code) for s in told if s.run.method == "lora_sum"][-1] == ("stopped", 130)
    assert found_in(suite.runs[0].folder) == "unfinished"
    assert not _calls(suite, 1), "what waited was not begun"
    assert [s.state for s in _made(suite)] == ["finished", "finished"]
    assert _calls(suite)[-1].endswith("--resume")
    assert threading.active_count() == threads


def test_threads_are_divided_among_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("lorastream.suites.executors.processors", lambda: 8)
    assert [threads_of_each(jobs) for jobs in (1, 3, 16)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of_each(2) == 3


def test_a_record_of_other_settings_is_no_run_of_the_suite(suite_of: Of) -> None:
    from lorastream.errors import CheckpointError
    from lorastream.runs import store
    from lorastream.runs.record import RunRecord

    suite = suite_of("prototypes", "sd_lora")
    for run in suite.runs:
        run.folder.mkdir(parents=True)
    first, second = (run.settings.resolved() for run in suite.runs)
    moved = {**first, "data": {**first["data"], "root": "elsewhere"}}
    store.write(RunRecord(recipe=moved, status="finished"), suite.runs[0].folder)
    assert list(found_in_all(suite.runs).values()) == ["finished", "nothing"], "where the data lie is no setting"
    second["training"]["epochs"] = 99
    store.write(RunRecord(recipe=second, status="finished"), suite.runs[1].folder)
    with pytest.raises(CheckpointError, match=r"digits/sd_lora/0[^$]*training\.epochs: 99 then"):
        found_in_all(suite.runs)


def test_an_attempt_from_another_folder_writes_where_it_would_have(tmp_path: Path, stand_in: Path) -> None:
    """As a worker of Ray makes it, which stands in a folder of its own."""
    arguments = ["run", "digits", "--methods", "prototypes", "--out", "there"]
    said = list(
        attempt.attempt_in(str(tmp_path), arguments, "there/output.log", environment={}, program=(str(stand_in),))
    )
    assert said[0] == "prototypes, seed 0: task 1 of 2 learnt"
    assert isinstance(said[-1], attempt.Ended)
    assert (said[-1].code, found_in(tmp_path / "there")) == (0, "finished")
