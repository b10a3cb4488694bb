"""Every kind of statistics keeps the same promises: what is drawn has the means and variances of what was put."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from sklearn.covariance import OAS, LedoitWolf
from torch import Tensor

from lorastream.heads.diagonal_covariance import DiagonalCovariance
from lorastream.heads.low_rank_covariance import LowRankCovariance
from lorastream.heads.statistics import Covariance, load_statistics, new_statistics

KINDS: tuple[Covariance, ...] = get_args(Covariance)
COUNTING: tuple[Covariance, ...] = ("shared", "diagonal", "low_rank")
TURN = torch.tensor([[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], dtype=torch.float64)


def _features(seed: int, n: int = 60, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator) @ torch.diag(torch.arange(1.0, width + 1)) + 3 * seed


def _of(kind: Covariance, *classes: Tensor) -> Any:
    statistics = new_statistics(kind)
    statistics.put(0, classes)
    return statistics


def _drawn(statistics: Any, label: int = 0, **options: float) -> Tensor:
    return statistics.sample(label, 30_000, generator=torch.Generator().manual_seed(1), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_means_and_variances_of_the_class(kind: Covariance) -> None:
    rows = _features(1, n=400)
    drawn = _drawn(_of(kind, rows), mean_scale=0.5, ridge=0.25)
    torch.testing.assert_close(drawn.mean(dim=0), 0.5 * rows.double().mean(dim=0), atol=0.12, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), rows.double().var(dim=0) + 0.25, atol=0.3, rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_they_are_the_same_and_one_class_can_be_forgotten(kind: Covariance) -> None:
    statistics = _of(kind, _features(0), _features(1), _features(2))
    loaded = load_statistics(statistics.tensors())
    assert type(loaded) is type(statistics)
    for one in (statistics, loaded):
        one.put(3, [_features(3)])
        one.forget(1)
    for name, tensor in statistics.tensors().items():
        assert torch.equal(tensor, loaded.tensors()[name])
    assert statistics.n_classes == 3
    assert torch.allclose(statistics.means[1], _features(2).mean(dim=0), atol=1e-5)
    own = sum(t.nbytes for name, t in statistics.tensors().items() if name != "shared/covariance")
    assert own == 3 * statistics.bytes_per_class()


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_move_moves_means_and_spread_of_the_first_classes(kind: Covariance) -> None:
    statistics = _of(kind, _features(0, n=500), _features(1, n=500))
    before = statistics.means.double()
    statistics.move(before[:1] @ TURN.mT, TURN)
    torch.testing.assert_close(statistics.means[0].double(), (TURN @ before[0]), atol=1e-5, rtol=0)
    assert torch.equal(statistics.means[1].double(), before[1])
    if kind != "shared":  # whose one covariance moves by half: half of its images moved
        variance = (_features(0, n=500).double() @ TURN.mT).var(dim=0)
        torch.testing.assert_close(_drawn(statistics).var(dim=0), variance, atol=0.3, rtol=0.06)
        torch.testing.assert_close(
            _drawn(statistics, 1).var(dim=0), _features(1, n=500).double().var(dim=0), rtol=0.05, atol=0.3
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_moved_mean_leaves_a_spread_behind_it_where_told(kind: Covariance) -> None:
    statistics = _of(kind, _features(0))
    before = _drawn(statistics).var(dim=0)
    statistics.move(statistics.means.double() + torch.tensor([4.0, 0, 0, 0]), spread=0.5)
    grown = _drawn(statistics).var(dim=0) - before
    assert grown[0].item() == pytest.approx(8, rel=0.2)  # 0.5 · 4²
    assert grown[1:].abs().max() < 2.5  # the shared one is shrunk towards its mean variance


@pytest.mark.parametrize("kind", COUNTING)
def test_more_images_of_a_class_count_as_if_they_had_come_at_once(kind: Covariance) -> None:
    rows = _features(1, n=50)
    merged = _of(kind, rows[:20])
    merged.merge(0, rows[20:])
    for name, tensor in _of(kind, rows).tensors().items():
        pair = [merged.tensors()[name], tensor]
        if "factor" in name:  # columns have no sign
            pair = [own @ own.mT for own in pair]
        torch.testing.assert_close(*pair, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["full", "ledoit_wolf", "oas", "diagonal", "low_rank"])
def test_a_class_of_one_image_is_lent_the_spread_of_the_others(kind: Covariance) -> None:
    statistics = _of(kind, _features(0, n=300), _features(1, n=1))
    lent, own = _drawn(statistics, 1).var(dim=0), _drawn(statistics, 0).var(dim=0)
    torch.testing.assert_close(lent, own, atol=0.3, rtol=0.05)
    alone = _of(kind, _features(0, n=1))
    assert not _drawn(alone).var(dim=0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_images_than_dimensions_can_be_drawn_from(kind: Covariance) -> None:
    statistics = _of(kind, _features(0, n=3, width=12), _features(1, n=2, width=12))
    assert torch.isfinite(_drawn(statistics, 1)).all()
    assert torch.isfinite(statistics.within_class()).all()
    assert torch.linalg.eigvalsh(statistics.within_class())[0] > 0


@pytest.mark.parametrize(("kind", "reference"), [("ledoit_wolf", LedoitWolf), ("oas", OAS)])
def test_shrunk_covariances_are_those_of_scikit_learn(kind: Covariance, reference: Any) -> None:
    rows = _features(0, n=6, width=8)
    expected = torch.from_numpy(reference().fit(rows.double().numpy()).covariance_)
    torch.testing.assert_close(_of(kind, rows).covariances[0].double(), expected, atol=1e-5, rtol=1e-5)


def test_a_low_rank_keeps_the_largest_directions_and_the_whole_diagonal() -> None:
    statistics = LowRankCovariance.of_rank(2)
    rows = _features(0, n=500, width=6)
    statistics.put(0, [rows])
    factor, rest = statistics.factors[0].double(), statistics.rests[0].double()
    exact = rows.double().mT.cov()
    torch.testing.assert_close(
        factor.square().sum(dim=0).flip(0), torch.linalg.eigvalsh(exact)[-2:].flip(0), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(factor.square().sum(dim=1) + rest, exact.diagonal(), rtol=1e-4, atol=1e-4)
    assert (rest >= 0).all()


def test_a_rank_above_the_width_keeps_everything() -> None:
    statistics, rows = LowRankCovariance.of_rank(9), _features(0)
    statistics.put(0, [rows])
    assert statistics.factors.shape == (1, 4, 9)
    torch.testing.assert_close(statistics.factors[0] @ statistics.factors[0].mT, rows.mT.cov(), rtol=1e-4, atol=1e-4)


def test_the_diagonal_is_that_of_the_covariance() -> None:
    statistics = DiagonalCovariance()
    statistics.put(0, [_features(2)])
    torch.testing.assert_close(statistics.variances[0], _features(2).var(dim=0))
    assert statistics.bytes_per_class() == 8 * 4 + 8
