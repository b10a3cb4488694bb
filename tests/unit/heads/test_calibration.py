"""A calibration is saved and loaded whole, and outlives a visit only in the distances it has seen."""

from __future__ import annotations

import pytest
import torch

from lorastream.heads.calibration import Calibration, Threshold

WHOLE = Calibration(
    temperature=1.7,
    images=12,
    error_before=0.1,
    error_after=None,
    thresholds={"energy": Threshold(value=-3.0, auroc=0.9), "mahalanobis": Threshold(value=8.0)},
    distances=torch.tensor([1.0, 2.5]),
)


@pytest.mark.parametrize("given", [WHOLE, Calibration(), WHOLE.outdated()])
def test_what_is_saved_is_loaded(given: Calibration) -> None:
    loaded = Calibration.of_tensors(given.tensors())
    for name in ("temperature", "images", "error_before", "error_after", "thresholds"):
        assert getattr(loaded, name) == getattr(given, name)
    assert torch.equal(loaded.distances, given.distances)


def test_distances_decide_unless_only_energy_is_known() -> None:
    assert WHOLE.default_score == "mahalanobis"
    assert Calibration(thresholds={"energy": Threshold(value=1.0)}).default_score == "energy"
    assert Calibration().default_score is None


def test_what_is_outdated_claims_nothing() -> None:
    old = WHOLE.outdated()
    assert (old.temperature, old.thresholds, old.images) == (1.0, {}, 0)
    assert old.distances.tolist() == [1.0, 2.5]
