"""Evaluation counts every test image once, among all classes known, and reads every accuracy off those counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lorastream.adapters import AdaptedLinear
from lorastream.data.sources import load
from lorastream.data.stream import Stream, StreamConfig
from lorastream.errors import DataError
from lorastream.metrics.calibration import reliability
from lorastream.model import IncrementalClassifier
from lorastream.training.evaluate import Evaluation, evaluate, inference
from lorastream.training.events import Evaluating, Event


class Scripted:
    """A method that answers from a list of logits, one row for each test image in order."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.asked: list[int] = []

    def predict(self, model: IncrementalClassifier, images: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        assert not any(isinstance(module, AdaptedLinear) for module in model.modules())
        first = sum(self.asked)
        self.asked.append(len(images))
        return self.logits[first : first + len(images)]


@pytest.fixture
def known(model: IncrementalClassifier, stream: Stream) -> IncrementalClassifier:
    """Return a model that knows both tasks and has adapters."""
    for task in stream:
        model.grow(task.class_names)
    model.adapt(("query",))
    return model


# The source has 10 test images of each class, in the order of the classes: 20 of each task.
LABELS = torch.arange(4).repeat_interleave(10)


def test_confusion_and_accuracies_by_hand(
    known: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    """Of class 1, four images are taken for 0 and one for 3; of class 2, five for 1; of class 3, two for 2.

    The five of class 2 would be right within their task, the one of class 1 would not.
    """
    predicted = [0] * 10 + [1] * 5 + [0] * 4 + [3] + [2] * 5 + [1] * 5 + [3] * 8 + [2] * 2
    logits = torch.nn.functional.one_hot(torch.tensor(predicted), 4).float() * 10
    logits[25:30, 2] = 5.0  # second best: the true class
    logits[19, 0] = 5.0  # second best: the wrong class of its own task
    method: Any = Scripted(logits)
    found = evaluate(known, method, list(stream), accelerator=accelerator, batch_size=7)
    assert found.confusion.tolist() == [[10, 0, 0, 0], [4, 5, 0, 1], [0, 5, 5, 0], [0, 0, 2, 8]]
    assert found.confusion.dtype == np.int64
    assert found.answers is not None
    assert found.answers.tolist() == predicted
    assert found.n_test == (20, 20)
    assert found.accuracy == (15 / 20, 13 / 20)
    assert found.right_in_task.tolist() == [15, 18]
    assert found.task_restricted_accuracy == (15 / 20, 18 / 20)
    assert found.classes == (range(2), range(2, 4))
    assert method.asked == [7, 7, 6, 7, 7, 6]  # one pass, no image twice
    expected = reliability(logits.double().softmax(dim=1).amax(dim=1), torch.tensor(predicted) == LABELS)
    assert found.reliability.images == expected.images
    assert found.reliability.accuracy == pytest.approx(expected.accuracy)
    assert found.reliability.confidence == pytest.approx(expected.confidence, abs=1e-6)


def test_logits_that_are_not_numbers_claim_nothing(
    known: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    method: Any = Scripted(torch.full((40, 4), torch.nan))
    found = evaluate(known, method, list(stream), accelerator=accelerator)
    assert (found.reliability.images[0], found.reliability.confidence[0]) == (40, 0.0)


@given(st.integers(0, 2**31))
def test_knowing_the_task_never_hurts(seed: int) -> None:
    """The counts that evaluation makes, from random logits: what is right among all is right among fewer."""
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(seed))
    confusion = torch.bincount(LABELS * 4 + logits.argmax(dim=1), minlength=16).view(4, 4).numpy()
    own = [
        int((logits[s : s + 20, c : c + 2].argmax(dim=1) + c == LABELS[s : s + 20]).sum()) for s, c in ((0, 0), (20, 2))
    ]
    found = Evaluation(
        confusion=confusion,
        right_in_task=np.array(own),
        classes=(range(2), range(2, 4)),
        reliability=reliability([], []),
        seconds=0.0,
    )
    assert all(r >= a for r, a in zip(found.task_restricted_accuracy, found.accuracy, strict=True))


def test_some_of_the_tasks_among_all_classes(
    known: IncrementalClassifier, stream: Stream, accelerator: Accelerator
) -> None:
    logits = torch.zeros(20, 4)
    logits[:, 0] = 1.0  # every image of task 1 is taken for a class of task 0
    method: Any = Scripted(logits)
    found = evaluate(known, method, [stream[1]], accelerator=accelerator)
    assert found.confusion.shape == (4, 4)
    assert found.accuracy == (0.0,)
    assert found.task_restricted_accuracy == (0.5,)


def test_progress_is_told(known: IncrementalClassifier, stream: Stream, accelerator: Accelerator) -> None:
    events: list[Event] = []
    method: Any = Scripted(torch.zeros(40, 4))
    evaluate(known, method, list(stream), accelerator=accelerator, batch_size=15, listen=events.append)
    assert events == [Evaluating(done=done, total=40) for done in (15, 20, 35, 40)]


def test_nothing_changes_by_being_evaluated(
    known: IncrementalClassifier, stream: Stream, accelerator: Accelerator, pixels: Tensor
) -> None:
    known.adapters.grow(2, generator=torch.Generator(), up_std=0.1)
    before, logits = {n: t.clone() for n, t in known.state_dict().items()}, known(pixels)
    plain: Any = object()
    evaluate(known, plain, list(stream), accelerator=accelerator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in known.state_dict().items())
    assert torch.equal(known(pixels), logits)
    assert known(pixels).requires_grad


def test_an_error_leaves_the_model_as_it_was(known: IncrementalClassifier) -> None:
    with pytest.raises(ZeroDivisionError), inference(known):
        _ = 1 / 0
    assert any(isinstance(module, AdaptedLinear) for module in known.modules())
    assert not torch.is_inference_mode_enabled()


def test_a_task_without_test_images_is_refused(
    known: IncrementalClassifier, stream: Stream, accelerator: Accelerator, tmp_path: Path
) -> None:
    dataset = load("synthetic", n_classes=4, images_per_class=2, test_images_per_class=0, size=16)
    empty = Stream.of(
        dataset,
        config=StreamConfig(tasks=2, order="natural"),
        seed=0,
        transforms=(stream.train.transform, stream.test.transform),
        cache=tmp_path / "cache",
    )
    method: Any = object()
    with pytest.raises(DataError, match=r"(?s)task 0.*data\.test_fraction"):
        evaluate(known, method, list(empty), accelerator=accelerator)


def test_no_tasks_give_no_accuracies(
    model: IncrementalClassifier, accelerator: Accelerator, probe: Callable[[], Any]
) -> None:
    found = evaluate(model, probe(), [], accelerator=accelerator)
    assert (found.accuracy, found.n_test, found.confusion.shape) == ((), (), (0, 0))
