"""Too little memory cuts batches smaller and changes nothing else; bad batches are named, and left out if allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from lorastream import methods
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import RunError
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness
from lorastream.training.events import Event, Note
from lorastream.training.learn import learn
from lorastream.training.resume import Keeper, whole
from lorastream.training.settings import TrainingSettings
from lorastream.training.states import States


def _settings(**given: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({"epochs": 2, "batch_size": 6, "lr": 0.1, **given})


def _learner(backbone: Callable[[], Backbone]) -> tuple[IncrementalClassifier, Any]:
    return IncrementalClassifier(backbone(), randomness=Randomness(0)), methods.build("sd_lora", {"rank": 2})


def _cramped(method: Any, room: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> Any:
    """Let a method have memory for so many images at once."""
    loss = method.loss

    def cramped(model: Any, batch: Any, task: Any) -> Tensor:
        if len(batch) > room:
            raise error("DefaultCPUAllocator: can't allocate memory")
        return loss(model, batch, task)

    object.__setattr__(method, "loss", cramped)
    return method


@pytest.mark.parametrize(("room", "parts", "error"), [(3, 2, torch.OutOfMemoryError), (1, 8, RuntimeError)])
def test_too_little_memory_halves_the_micro_batch_and_keeps_the_batch(
    room: int,
    parts: int,
    error: type[RuntimeError],
    tiny_backbone: Callable[[], Backbone],
    stream: Stream,
    accelerator: Accelerator,
) -> None:
    model, method = _learner(tiny_backbone)
    events: list[Event] = []
    cramped = _cramped(method, room, error)
    learnt = learn(model, cramped, stream[0], _settings(), accelerator=accelerator, listen=events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert learnt.notes == tuple(notes)
    assert notes[0] == (
        "task 1, epoch 1, step 1: no memory for 6 images at once; 3 at once from here on, the batch is the same"
    )
    assert len(notes) == {2: 1, 8: 3}[parts]
    other, plain = _learner(tiny_backbone)
    expected = learn(other, plain, stream[0], _settings(accumulation=min(parts, 6)), accelerator=accelerator)
    assert [e.loss for e in learnt.epochs] == [e.loss for e in expected.epochs]
    for name, tensor in whole(other, plain)[1].items():
        assert torch.equal(whole(model, method)[1][name], tensor)


def test_memory_for_not_even_one_image_is_an_error_with_a_way_out(
    tiny_backbone: Callable[[], Backbone], stream: Stream, accelerator: Accelerator
) -> None:
    model, method = _learner(tiny_backbone)
    with pytest.raises(
        RunError, match=r"(?s)task 1, epoch 1, step 1\n.*one image of 16 pixels.*training\.precision=bf16"
    ):
        learn(model, _cramped(method, 0), stream[0], _settings(), accelerator=accelerator)


def test_other_errors_are_not_taken_for_it(
    tiny_backbone: Callable[[], Backbone], stream: Stream, accelerator: Accelerator
) -> None:
    model, method = _learner(tiny_backbone)

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    object.__setattr__(method, "loss", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        learn(model, method, stream[0], _settings(), accelerator=accelerator)


def test_bad_batches_are_left_out_up_to_a_count_and_named(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    """The batch with the bad loss changes nothing: the head moves as if it had not been there."""
    method = probe(factor=(1.0, float("nan"), 1.0))
    learnt = learn(model, method, stream[0], _settings(skip_bad_batches=1, epochs=1), accelerator=accelerator)
    (note,) = learnt.notes
    assert note.startswith("task 1, epoch 1, step 2 left out, its loss or gradient is not finite: synthetic[train, ")
    assert method.calls.count("after_step") == 1
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert learnt.epochs[0].loss > 0


def test_one_more_than_allowed_stops_the_task(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    method = probe(factor=(float("inf"),))
    with pytest.raises(RunError, match=r"(?s)task 1, epoch 1, step 2\n.*after 1 batches were left out"):
        learn(model, method, stream[0], _settings(skip_bad_batches=1), accelerator=accelerator)


def test_a_gradient_that_is_not_finite_is_found_too(
    tiny_backbone: Callable[[], Backbone], stream: Stream, accelerator: Accelerator
) -> None:
    model, method = _learner(tiny_backbone)
    loss, calls = method.loss, [0]

    def once(model: Any, batch: Any, task: Any) -> Tensor:
        calls[0] += 1
        head = next(model.head.parameters())
        # The square root has a finite value and no finite slope at zero.
        return loss(model, batch, task) + ((head.sum() * 0).sqrt() if calls[0] == 2 else 0)

    object.__setattr__(method, "loss", once)
    learnt = learn(model, method, stream[0], _settings(skip_bad_batches=5), accelerator=accelerator)
    assert len(learnt.notes) == 1
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_state_is_never_kept_of_numbers_that_are_not_finite(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator, tmp_path: Path
) -> None:
    method = probe(factor=(1.0, float("nan"), 1.0))
    (tmp_path / "resume").mkdir()
    states = States(tmp_path / "resume")
    keeper = Keeper(states, states.write_task({"index": 0}, {}), every=1)
    with pytest.raises(RunError, match=r"(?s)step 2\n.*the last good state is kept \(000002-progress\.safetensors\)"):
        learn(model, method, stream[0], _settings(batch_size=4), accelerator=accelerator, keeper=keeper)
    found = states.newest()
    assert found is not None
    assert found.progress is not None
    assert (found.progress.facts["epoch"], found.progress.facts["step"]) == (0, 1)
    assert all(torch.isfinite(tensor).all() for tensor in found.progress.tensors.values())
