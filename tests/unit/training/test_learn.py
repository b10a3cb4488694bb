"""One loop for every method: each image once an epoch, gradients as of the whole batch, and every event in order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from lorastream import methods
from lorastream.adapters import Adapter
from lorastream.backbones.backbone import Backbone
from lorastream.data.stream import Stream
from lorastream.errors import DataError, RunError
from lorastream.model import IncrementalClassifier
from lorastream.randomness import Randomness
from lorastream.training import running as module
from lorastream.training.events import EpochDone, Event, StepDone, TaskLearnt, TaskStarted
from lorastream.training.learn import learn
from lorastream.training.settings import TrainingSettings


def _settings(**given: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({"epochs": 2, "batch_size": 5, "lr": 0.1, **given})


@pytest.fixture
def _every_step_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_REPORTS", -1.0)


def test_hooks_are_called_in_their_order(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    method = probe()
    learnt = learn(model, method, stream[0], _settings(accumulation=2), accelerator=accelerator)
    step = ["loss", "loss", "after_backward", "after_step"]  # 12 images: 5, 5 and 2, each in two micro-batches
    epochs = [*step * 3, "after_epoch 0", *step * 3, "after_epoch 1"]
    assert method.calls == ["before_task", *epochs, "after_task"]
    assert learnt.figures == {"classes": 2}


@pytest.mark.usefixtures("_every_step_is_announced")
def test_events_arrive_in_order_with_the_numbers_of_the_task(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    events: list[Event] = []
    settings = _settings(schedule="cosine", momentum=0.0)
    learnt = learn(model, probe(), stream[0], settings, accelerator=accelerator, listen=events.append)
    names = ("pattern 0", "pattern 1")
    assert events[0] == TaskStarted(task=0, class_names=names, epochs=2, steps_per_epoch=3)
    kinds = [type(event) for event in events[1:]]
    assert kinds == [*[StepDone] * 3, EpochDone, *[StepDone] * 3, EpochDone, TaskLearnt]
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [(step.epoch, step.step) for step in steps] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert learnt.epochs == tuple(epochs)
    assert [epoch.lr for epoch in epochs] == pytest.approx([0.1, 0.05])
    for step, epoch in ((steps[2], epochs[0]), (steps[5], epochs[1])):
        assert (step.loss, step.accuracy) == (epoch.loss, epoch.accuracy)
    assert all(0 < epoch.loss < 2 for epoch in epochs)
    assert all(0 <= epoch.accuracy <= 1 for epoch in epochs)
    assert events[-1] == TaskLearnt(task=0, seconds=learnt.seconds)


def test_an_epochs_loss_is_the_mean_over_its_images(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    """With a vanishing rate the head stays still: the mean over 5 + 5 + 2 images can be taken apart."""
    learnt = learn(model, probe(), stream[0], _settings(epochs=1, lr=1e-12), accelerator=accelerator)
    batches = list(stream[0].train.batches(5, epoch=0))
    with torch.no_grad():
        losses = torch.cat([F.cross_entropy(model(b.images), b.labels, reduction="none") for b in batches])
        right = torch.cat([model(b.images).argmax(dim=1) == b.labels for b in batches])
    assert len(losses) == 12
    assert learnt.epochs[0].loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert learnt.epochs[0].accuracy == pytest.approx(right.double().mean().item())


def test_training_accuracy_counts_the_choice_among_the_tasks_own_classes(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    """Every image is taken for a class of task 0 first and for the first class of task 1 next: half are right."""
    settings = _settings(epochs=1, lr=1e-12, accumulation=3)
    learn(model, probe(), stream[0], settings, accelerator=accelerator)

    class Biased(probe):
        def before_task(self, model: IncrementalClassifier, task: Any) -> None:
            super().before_task(model, task)
            with torch.no_grad():
                for weight, bias, value in zip(model.head.weights, model.head.biases, (100.0, 50.0), strict=True):
                    weight.zero_()
                    bias.copy_(torch.tensor([value, 0.0]))

    learnt = learn(model, Biased(), stream[1], settings, accelerator=accelerator)
    assert learnt.epochs[0].accuracy == 0.5


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("name", ["sequential_lora", "sd_lora"])
def test_micro_batches_learn_what_the_whole_batch_learns(
    name: str, parts: int, tiny_backbone: Callable[[], Backbone], stream: Stream, accelerator: Accelerator
) -> None:
    learnt: list[dict[str, Tensor]] = []
    for accumulation in (1, parts):
        model = IncrementalClassifier(tiny_backbone(), randomness=Randomness(0))
        method = methods.build(name, {"rank": 2})
        learn(model, method, stream[0], _settings(accumulation=accumulation), accelerator=accelerator)
        learnt.append({f"{part}/{k}": t for part, tensors in model.tensors().items() for k, t in tensors.items()})
    whole, split = learnt
    assert whole.keys() == split.keys()
    for key, tensor in whole.items():
        torch.testing.assert_close(split[key], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("clip", "clipped"), [(1e-3, True), (1e3, False)])
def test_the_gradient_is_clipped_to_its_norm(
    probe: Any,
    model: IncrementalClassifier,
    stream: Stream,
    accelerator: Accelerator,
    clip: float,
    clipped: bool,
) -> None:
    """One step of plain descent moves the head by rate times the norm of the clipped gradient."""
    begun: list[Tensor] = []
    gradients: list[Tensor] = []

    class Watched(probe):
        def before_task(self, model: IncrementalClassifier, task: Any) -> None:
            super().before_task(model, task)
            begun.extend(p.detach().clone() for p in model.learning())

        def after_backward(self, model: IncrementalClassifier, task: Any) -> None:
            super().after_backward(model, task)
            gradients.extend(p.grad.clone() for p in model.learning() if p.grad is not None)

    settings = _settings(epochs=1, batch_size=12, momentum=0.0, lr=0.5, clip_norm=clip)
    learn(model, Watched(), stream[0], settings, accelerator=accelerator)
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
    moved = math.sqrt(
        sum((p.detach() - b).double().square().sum().item() for p, b in zip(model.learning(), begun, strict=True))
    )
    assert norm > 0.1
    assert moved == pytest.approx(0.5 * (clip if clipped else norm), rel=1e-3)


@pytest.mark.usefixtures("_every_step_is_announced")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_task_and_names_it(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator, value: float
) -> None:
    method = probe(factor=(1.0, 1.0, 1.0, 1.0, value))
    learn(model, probe(), stream[0], _settings(), accelerator=accelerator)
    with pytest.raises(RunError, match=r"(?s)task 2, epoch 2, step 2\n.*a finite loss.*training\.lr") as caught:
        learn(model, method, stream[1], _settings(), accelerator=accelerator)
    assert caught.value.exit_code == 1
    assert method.calls.count("loss") == 5
    assert "after_task" not in method.calls


def test_such_a_loss_is_found_at_the_end_of_the_epoch_at_the_latest_and_its_own_step_is_named(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_REPORTS", 1e9)
    method = probe(factor=(1.0, float("nan"), 1.0))
    names = ", ".join(stream[0].train.names[i] for i in list(stream[0].train.batches(5, epoch=0))[1].indices.tolist())
    with pytest.raises(RunError, match="task 1, epoch 1, step 2") as caught:
        learn(model, method, stream[0], _settings(), accelerator=accelerator)
    assert caught.value.faults[0].got == f"a loss of nan on {names}"
    assert method.calls.count("loss") == 3


def test_nothing_of_a_task_stays_behind(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    """Neither the optimiser with its momenta nor the hook on the head, also where learning failed."""
    kept, hooks = len(accelerator._optimizers), len(model.head._forward_hooks)
    learn(model, probe(), stream[0], _settings(), accelerator=accelerator)
    with pytest.raises(RunError):
        learn(model, probe(factor=(float("nan"),)), stream[1], _settings(), accelerator=accelerator)
    assert (len(accelerator._optimizers), len(model.head._forward_hooks)) == (kept, hooks)


def test_what_learning_took_is_told(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    learnt = learn(model, probe(), stream[0], _settings(), accelerator=accelerator)
    assert learnt.trainable_parameters == 2 * 32 + 2
    assert learnt.stored_bytes == 4 * (2 * 32 + 2)
    assert learnt.step_milliseconds is not None
    assert 0 < learnt.step_milliseconds < 1000 * learnt.seconds
    assert learnt.peak_memory_bytes > 0


@pytest.mark.parametrize("name", ["prototypes", "sequential_lora"])
def test_without_steps_there_are_no_epochs_to_tell_of(
    name: str, tiny_backbone: Callable[[], Backbone], stream: Stream, accelerator: Accelerator
) -> None:
    method = methods.build(name, {})
    model = IncrementalClassifier(tiny_backbone(), head=method.traits.head)
    events: list[Event] = []
    settings = _settings(epochs=0 if name == "sequential_lora" else 3)
    learnt = learn(model, method, stream[0], settings, accelerator=accelerator, listen=events.append)
    assert (learnt.epochs, learnt.step_milliseconds, learnt.trainable_parameters) == ((), None, 0)
    assert [type(event) for event in events] == [TaskLearnt]


def test_a_class_that_is_known_is_refused_before_anything_is_prepared(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    model.grow(["pattern 1"])
    method = probe()
    with pytest.raises(DataError, match="which the model knows"):
        learn(model, method, stream.joined(0), _settings(), accelerator=accelerator)
    assert method.calls == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_precision_learns(precision: str, tiny_backbone: Callable[[], Backbone], stream: Stream) -> None:
    from lorastream.training.device import accelerator_for

    model = IncrementalClassifier(tiny_backbone(), randomness=Randomness(0))
    settings = _settings(precision=precision, epochs=4)
    method = methods.build("sd_lora", {"rank": 2})
    learnt = learn(model, method, stream[0], settings, accelerator=accelerator_for(settings))
    assert learnt.epochs[-1].loss < 0.8 * learnt.epochs[0].loss
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_rate_warms_up_within_an_epoch(
    probe: Any, model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    """Three steps an epoch; the warm-up ends with the second epoch, whose last step is at (1 + 2/3) / 2 of the rate."""
    learnt = learn(model, probe(), stream[0], _settings(warmup_epochs=2.0), accelerator=accelerator)
    rates = [epoch.lr / 0.1 for epoch in learnt.epochs]
    assert rates == pytest.approx([1 / 3, 5 / 6], abs=1e-3)


def test_lora_dropout_draws_masks_for_every_step_and_leaves_none_behind(
    tiny_backbone: Callable[[], Backbone], stream: Stream, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    mask = Adapter.mask

    def noted(adapter: Adapter, probability: float, *, generator: torch.Generator) -> None:
        mask(adapter, probability, generator=generator)
        assert adapter.masks is not None
        drawn.append(sum(m.sum().item() for m in adapter.masks))

    monkeypatch.setattr(Adapter, "mask", noted)
    taught: list[Tensor] = []
    for dropout in (0.5, 0.5, 0.0):
        learner = IncrementalClassifier(tiny_backbone(), randomness=Randomness(3))
        method = methods.build("sequential_lora", {})
        learn(learner, method, stream[0], _settings(lora_dropout=dropout), accelerator=accelerator)
        assert all(adapter.masks is None for adapter in learner.adapters)
        taught.append(next(iter(learner.adapters)).delta())
    assert len(drawn) == 2 * 2 * 3 * 4, "two runs of two epochs of three steps on four projections"
    assert len(set(drawn[:24])) > 12
    assert torch.equal(taught[0], taught[1])
    assert not torch.equal(taught[0], taught[2])


def test_stored_bytes_count_what_the_method_has_learnt_too(
    model: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    method: Any = methods.build("inf_lora", {})
    learnt = learn(model, method, stream[0], _settings(epochs=1), accelerator=accelerator)
    bases = sum(basis.nbytes for kept in (method.protected_, method.free_) for basis in kept.values())
    shares = sum(share.nbytes for share in method.captured_.values())
    assert bases > 0
    assert learnt.stored_bytes == model.stored_bytes() + bases + shares
