"""The model after each task, read off the last one or replayed, is the model that the run had then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorastream import experiment
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.states import kept_states, replay_note, replayed_states
from lorastream.training.checkpoint import read_model

Finished = Callable[..., FinishedRun]


def kept(run: FinishedRun) -> object:
    """Return what `kept_states` makes of a run."""
    return kept_states(run.learner().method, run.record, run.recipe, run.facts, run.parts)


@pytest.mark.parametrize("overrides", [(), ("method.norm=exact", "method.normalise_current=true")])
def test_what_is_read_off_the_last_model_is_what_a_replay_finds(overrides: tuple[str, ...], finished: Finished) -> None:
    run = finished("sd_lora", *overrides)
    read = kept_states(run.learner().method, run.record, run.recipe, run.facts, run.parts)
    assert read is not None
    again = replayed_states(run.recipe, run.record, run.folder, run.parts, run.progress)
    for one, other in zip(read, again, strict=True):
        assert one().classes == other().classes
        for part in ("adapters", "head"):
            expected = other().parts[part]
            assert one().parts[part].keys() == expected.keys()
            for name, tensor in one().parts[part].items():
                torch.testing.assert_close(tensor, expected[name], msg=lambda text, name=name: f"{name}: {text}")
    assert "it ended 0 from the stored weights, and 0.0 points" in str(replay_note(run.folder))


@pytest.mark.parametrize("method", ["sequential_lora", "inf_lora"])
def test_methods_that_do_not_keep_their_past_are_replayed_once(
    method: str, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(method)
    assert kept(run) is None
    left = Path(run.folder, "analyses", "replay.unfinished", "0001")
    left.mkdir(parents=True)
    states = run.states
    assert not left.exists(), "an unfinished replay is begun anew"
    last = read_model(run.folder / "model")[1]
    for part in ("adapters", "head"):
        for name, tensor in states[-1]().parts[part].items():
            torch.testing.assert_close(tensor, last[part][name], rtol=0, atol=0)
    assert not list(run.folder.rglob("analyses/**/record.json")), "no report takes the replay for a run"
    monkeypatch.setattr(experiment, "run", lambda *_, **__: pytest.fail("it was replayed already"))
    assert len(FinishedRun(run.folder).states) == 3


def test_an_aligned_head_is_not_read_off_the_last_model(finished: Finished) -> None:
    assert kept(finished("sd_lora", "training.alignment.epochs=1")) is None


def test_a_learner_goes_on_as_the_run_did(finished: Finished) -> None:
    run = finished("sd_lora")
    learner = run.after(1)
    learner.learn(run.stream[1])
    expected = run.states[1]().parts
    for part, tensors in learner.model.tensors().items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, expected[part][name], rtol=1e-5, atol=1e-6)
    assert learner.evaluate([run.stream[0], run.stream[1]]).accuracy == run.record.accuracy_matrix[1]
