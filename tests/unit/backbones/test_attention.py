"""Attention learnt by products: exact gradients, only where it is faster, and whatever the network is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import tiny
from lorastream.backbones.attention import AttentionByProducts, faster_attention
from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
TORCH: Any = F.scaled_dot_product_attention  # as such, so that tensors can be given it by the list


def _drawn(*shape: int, kind: torch.dtype = torch.bfloat16, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(kind).requires_grad_()


def _by_products(query: Tensor, key: Tensor, value: Tensor, scale: float = 0.5) -> Tensor:
    return cast("Tensor", AttentionByProducts.apply(query, key, value, scale))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Return the shapes of the queries whose attention was learnt by products, as they come."""
    seen: list[torch.Size] = []
    backward = AttentionByProducts.backward

    def noting(ctx: Any, gradient: Tensor) -> Any:
        seen.append(gradient.shape)
        return backward(ctx, gradient)

    monkeypatch.setattr(AttentionByProducts, "backward", noting)
    return seen


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("scale", [0.5, 1.3])
def test_gradients_are_the_slopes(queries: int, scale: float) -> None:
    query, key, value = (_drawn(2, 3, n, 4, kind=torch.float64, seed=n) for n in (queries, 5, 5))
    assert torch.autograd.gradcheck(partial(_by_products, scale=scale), (query, key, value))


def test_views_of_one_projection_get_the_gradients_of_torch() -> None:
    """As timm gives them: query, key and value in one tensor, tokens before heads."""
    projected = _drawn(2, 5, 3, 3, 4, kind=torch.float64)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
    towards = _drawn(2, 5, 3, 4, kind=torch.float64, seed=1).detach().transpose(1, 2)
    found = [
        torch.autograd.grad(attend(query, key, value), projected, towards)[0]
        for attend in (_by_products, partial(TORCH, scale=0.5))
    ]
    torch.testing.assert_close(*found, atol=1e-12, rtol=1e-12)


def test_in_bfloat16_it_is_as_near_float64_as_torch_is() -> None:
    given = [_drawn(4, 3, 65, 32, seed=n) for n in range(3)]
    towards = _drawn(4, 3, 65, 32, seed=3).detach()

    def gradients(attend: Attention, kind: torch.dtype) -> list[Tensor]:
        own = [t.detach().to(kind).requires_grad_() for t in given]
        return [t.double() for t in torch.autograd.grad(attend(*own), own, towards.to(kind))]

    exact = gradients(TORCH, torch.float64)
    torch_is = _errors(gradients(TORCH, torch.bfloat16), exact)
    ours = _errors(gradients(partial(_by_products, scale=32**-0.5), torch.bfloat16), exact)
    assert all(0 < one < 0.02 for one in torch_is)
    assert all(one < 2 * other for one, other in zip(ours, torch_is, strict=True))


def _errors(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    return [float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)]


def test_the_forward_pass_is_that_of_torch_to_the_bit_and_keeps_no_more_than_it_is_given() -> None:
    given = [_drawn(2, 3, 17, 8, seed=n) for n in range(3)]
    saved: list[int] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()) or t, lambda t: t)
    with faster_attention(given[0]), hooks:
        found = TORCH(*given)
    assert saved == [t.data_ptr() for t in given]
    assert torch.equal(found, TORCH(*given))


LEFT: dict[str, dict[str, Any]] = {
    "a mask": {"attn_mask": torch.zeros(4, 4, dtype=torch.bfloat16)},
    "dropout": {"dropout_p": 0.5},
    "causal": {"is_causal": True},
}


@pytest.mark.parametrize("options", LEFT.values(), ids=LEFT)
def test_what_is_not_plain_is_left_to_torch(options: dict[str, Any], taken: list[torch.Size]) -> None:
    given = [_drawn(2, 2, 4, 8, seed=n) for n in range(3)]
    gradients: list[Any] = []
    for context in (nullcontext(), faster_attention(given[0])):
        torch.manual_seed(1)
        with context:
            found = TORCH(*given, **options)
        gradients.append(torch.autograd.grad(found.float().sum(), given))
    assert all(map(torch.equal, *gradients))
    assert not taken


def test_shared_keys_other_precisions_and_passes_that_learn_nothing_are_left_to_torch(taken: list[torch.Size]) -> None:
    query = _drawn(2, 4, 3, 8)
    with faster_attention(query):
        TORCH(query, *(_drawn(2, 2, 3, 8),) * 2, enable_gqa=True).sum().backward()
        TORCH(*(_drawn(2, 2, 3, 8, kind=torch.float32),) * 3).sum().backward()
        assert TORCH(*(query.detach(),) * 3).grad_fn is None
        with torch.no_grad():
            assert TORCH(*(query,) * 3).grad_fn is None
    assert not taken


def test_it_ends_with_the_context_also_after_an_error(taken: list[torch.Size]) -> None:
    given = [_drawn(2, 2, 3, 8)] * 3
    with pytest.raises(RuntimeError, match="size"), faster_attention(given[0]):
        TORCH(given[0], _drawn(2, 2, 3, 9), given[0])
    TORCH(*given).sum().backward()
    assert not taken
    with faster_attention(given[0]):
        found = TORCH(*given, scale=0.3)
    found.sum().backward()
    assert taken == [found.shape]


def test_a_batch_of_no_image() -> None:
    """As a process has it that keeps the others company."""
    query = _drawn(0, 2, 3, 8)
    with faster_attention(query):
        TORCH(query, query, query).sum().backward()
    assert query.grad is not None
    assert query.grad.shape == query.shape


def _hugging_face() -> Backbone:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8)
    network = _ClassToken(ViTModel(config, add_pooling_layer=False))
    return Backbone(network, spec=tiny.SPEC, width=16, projections=find_projections(network), name="hf")


class _ClassToken(nn.Module):
    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(pixel_values=images).last_hidden_state[:, 0]


NETWORKS: dict[str, Callable[[], Backbone]] = {"timm": tiny.backbone, "hugging_face": _hugging_face}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_backbone_learns_by_it_in_bfloat16_and_only_there(name: str, taken: list[torch.Size]) -> None:
    backbone = NETWORKS[name]()
    images = _drawn(3, 3, tiny.SIZE, tiny.SIZE, kind=torch.float32)
    exact = _gradient(backbone, images, torch.float32)
    assert not taken
    rounded = _gradient(backbone, images, torch.bfloat16)
    assert len(taken) == 2
    assert float((exact - rounded).norm() / exact.norm()) < 0.05


def _gradient(backbone: Backbone, images: Tensor, kind: torch.dtype) -> Tensor:
    with torch.autocast("cpu", dtype=kind, enabled=kind != torch.float32):
        features = backbone(images)
    return torch.autograd.grad(features.float()[:, 0].sum(), images)[0]


def test_prompts_are_learnt_by_it(taken: list[torch.Size]) -> None:
    prefix = _drawn(3, 2, 4, 32, kind=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tiny.backbone()(torch.ones(3, 3, tiny.SIZE, tiny.SIZE), prefixes={0: prefix}).sum().backward()
    assert len(taken) == 2
    assert prefix.grad is not None


def test_a_compiler_sees_what_torch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(faster_attention(torch.ones(1)), TorchFunctionMode)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert isinstance(faster_attention(torch.ones(1)), nullcontext)
    monkeypatch.undo()
    with torch.no_grad():
        assert isinstance(faster_attention(torch.ones(1)), nullcontext)
    assert isinstance(faster_attention(torch.ones(1, device="meta")), nullcontext)
