"""A cosine head compares angles: lengths of features and rows change nothing, and old rows stay bit-identical."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

from lorastream.errors import DataError
from lorastream.heads import CosineHead, LinearHead, PrototypeHead
from lorastream.heads.kinds import load_head

CPU = torch.device("cpu")


def _head(*sizes: int, width: int = 6, scale: float = 20.0, margin: float = 0.0) -> CosineHead:
    head = CosineHead(width, scale=scale, cosine_margin=margin)
    for task, size in enumerate(sizes):
        head.grow(size, generator=torch.Generator().manual_seed(task), device=CPU)
    return head


def test_logits_by_hand() -> None:
    """Rows [3, 0] and [0, 7], scale 10: the feature [3, 4] has cosines 0.6 and 0.8."""
    head = CosineHead(2)
    cosine = torch.tensor([10.0, 0.3], dtype=torch.float64)
    head.load_tensors({"weight": torch.tensor([[3.0, 0], [0, 7]]), "cosine": cosine}, [1, 1])
    assert head(torch.tensor([[3.0, 4]])).tolist()[0] == pytest.approx([6, 8])
    assert head.margin == pytest.approx(3.0)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.floats(0.01, 100), st.floats(0.01, 100))
def test_lengths_change_nothing(sizes: list[int], feature: float, row: float) -> None:
    head, features = _head(*sizes), torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    logits = head(features)
    with torch.no_grad():
        head.weights[0][0] *= row
    torch.testing.assert_close(head(features * feature), logits, atol=1e-4, rtol=0)
    assert logits.abs().max() <= 20 + 1e-4


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 5))
def test_growth_leaves_old_rows_and_old_logits_bit_identical(sizes: list[int], new: int) -> None:
    head, features = _head(*sizes), torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    logits, known = head(features), sum(sizes)
    head.grow(new, generator=torch.Generator().manual_seed(9), device=CPU)
    assert torch.equal(head(features)[:, :known], logits)
    assert torch.equal(head(features, since=known), head(features)[:, known:])


def test_what_was_saved_is_loaded_with_scale_and_margin() -> None:
    head, features = _head(2, 3, scale=16.0, margin=0.1), torch.randn(4, 6)
    loaded = load_head(head.tensors(), [2, 3])
    assert isinstance(loaded, CosineHead)
    assert (loaded.scale, loaded.cosine_margin) == (16.0, 0.1)
    assert torch.equal(loaded(features), head(features))
    assert (head.empty().scale, head.empty().cosine_margin, head.empty().n_classes) == (16.0, 0.1, 0)
    assert CosineHead(6).tensors() == {}


@pytest.mark.parametrize("made", [LinearHead, PrototypeHead])
def test_other_heads_are_told_by_their_tensors(made: type[LinearHead | PrototypeHead]) -> None:
    head = made(6)
    head.grow(2, generator=torch.Generator().manual_seed(0), device=CPU)
    assert type(load_head(head.tensors(), [2])) is made
    assert type(head.empty()) is made
    assert head.margin == 0


def test_rows_are_copied_and_forgotten() -> None:
    head = _head(2, 2)
    before = head.tensors()["weight"]
    head.copy_row(3, 0)
    head.forget(1)
    assert torch.equal(head.tensors()["weight"], before[[3, 2, 3]])
    assert head(torch.ones(1, 6)).shape == (1, 3)


def test_imprinted_rows_by_hand() -> None:
    """[3, 4] and [0, 2] at unit length are [0.6, 0.8] and [0, 1], their mean [0.3, 0.9]; [1, 0], [-5, 0] have none."""
    head = CosineHead(2)
    for task, size in enumerate((1, 2)):
        head.grow(size, generator=torch.Generator().manual_seed(task), device=CPU)
    before = head.tensors()["weight"]
    head.imprint([torch.tensor([[3.0, 4], [0, 2]]), torch.tensor([[1.0, 0], [-5, 0]])])
    weight = head.tensors()["weight"]
    assert weight[1].tolist() == pytest.approx([0.3 / 0.9**0.5, 0.9 / 0.9**0.5])
    assert torch.equal(weight[[0, 2]], before[[0, 2]])


def test_imprinted_rows_answer_as_class_means_of_unit_features_do() -> None:
    """Nearest centroid by cosines, as scikit-learn has it."""
    features = [torch.randn(7, 6, generator=torch.Generator().manual_seed(label)) + label for label in range(4)]
    head, asked = _head(2, 2), torch.randn(50, 6, generator=torch.Generator().manual_seed(9))
    head.imprint(features)
    centroids = [normalize(own.numpy()).mean(axis=0) for own in features]
    similarity = torch.from_numpy(cosine_similarity(asked.numpy(), centroids))
    torch.testing.assert_close(head(asked).detach() / 20, similarity.to(head(asked).dtype), atol=1e-5, rtol=0)


def test_a_feature_that_is_no_number_is_refused_by_its_class() -> None:
    head = _head(2, 2)
    with pytest.raises(DataError, match="class 3"):
        head.imprint([torch.ones(2, 6), torch.full((2, 6), torch.nan)])


def test_cosines_are_not_rounded_under_autocast() -> None:
    head, features = _head(5), torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(features)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, head(features))


def test_gradients_turn_a_row_and_do_not_lengthen_it() -> None:
    head, features = _head(2).double(), torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).double()
    head(features).square().sum().backward()
    gradient = head.weights[0].grad
    assert gradient is not None
    assert gradient.abs().max() > 1e-3
    assert (gradient * head.weights[0]).sum(dim=1).abs().max() < 1e-10
    assert torch.isfinite(head(torch.zeros(1, 6, dtype=torch.float64))).all()  # a feature without a direction
