"""One accelerator for each precision; what the device cannot do is refused in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lorastream.errors import RecipeError
from lorastream.training import device
from lorastream.training.settings import TrainingSettings


def test_one_accelerator_for_each_precision_on_the_processor() -> None:
    first = device.accelerator_for(TrainingSettings(precision="fp32"))
    mixed = device.accelerator_for(TrainingSettings(precision="bf16"))
    assert device.accelerator_for(TrainingSettings(precision="fp32", lr=1.0)) is first
    assert (first.mixed_precision, mixed.mixed_precision) == ("no", "bf16")
    assert first.device.type == mixed.device.type == "cpu"


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("last", ["fp32", "bf16"])
def test_each_keeps_its_precision_whichever_was_made_last(precision: str, expected: torch.dtype, last: str) -> None:
    device._accelerator.cache_clear()
    first = device.accelerator_for(TrainingSettings.model_validate({"precision": precision}))
    device.accelerator_for(TrainingSettings.model_validate({"precision": last}))
    with first.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert first.mixed_precision == device.MIXED[precision]


def test_fp16_on_a_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"training\.precision=bf16"):
        device.accelerator_for(TrainingSettings(precision="fp16"))


def test_threads_prepare_batches_only_beside_an_accelerator() -> None:
    assert device.preparing_threads(torch.device("cpu")) == 0
    assert device.preparing_threads(torch.device("cuda")) == 1


def test_the_total_of_one_process_is_its_own() -> None:
    own = torch.tensor([1, 2])
    assert device.total(device.accelerator_for(TrainingSettings()), own).tolist() == [1, 2]


@pytest.mark.parametrize(("platform", "expected"), [("linux", 1_024_000), ("darwin", 1000)])
def test_memory_is_counted_in_bytes(monkeypatch: pytest.MonkeyPatch, platform: str, expected: int) -> None:
    """The system counts in kilobytes, but for macOS."""
    monkeypatch.setattr(device.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=1000))
    monkeypatch.setattr(device.sys, "platform", platform)
    device.reset_peak_memory(torch.device("cpu"))
    assert device.peak_memory_bytes(torch.device("cpu")) == expected
