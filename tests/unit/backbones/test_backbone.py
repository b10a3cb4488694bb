"""A backbone is frozen, names its projections, and is known by the values of its weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone, weights_sha256
from lorastream.data.transforms import InputSpec
from lorastream.errors import MethodError


def test_it_is_frozen_and_never_in_training_mode(tiny_backbone: Callable[[], Backbone]) -> None:
    backbone = tiny_backbone()
    backbone.train()
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(module.training for module in backbone.modules())
    assert backbone(torch.zeros(2, 3, 16, 16)).shape == (2, backbone.width)


def test_its_identity_is_stable_and_follows_every_weight(tiny_backbone: Callable[[], Backbone]) -> None:
    backbone, again = tiny_backbone(), tiny_backbone()
    assert backbone.identity == again.identity
    assert backbone.identity.to_dict() == {
        "name": "tiny",
        "weights": None,
        "image_size": 16,
        "sha256": weights_sha256(backbone.network),
        "pretrained": False,
    }
    for parameter in again.network.parameters():
        kept = parameter.flatten()[-1].item()
        parameter.data.flatten()[-1] += 1
        assert weights_sha256(again.network) != backbone.identity.sha256
        parameter.data.flatten()[-1] = kept
    assert weights_sha256(again.network) == backbone.identity.sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"other": state["a"], "b": state["b"]},
        lambda state: {"a": state["a"].T, "b": state["b"]},
        lambda state: {"a": state["b"], "b": state["a"]},
        lambda state: {"a": state["a"]},
    ],
    ids=["name", "shape", "places", "missing"],
)
def test_the_hash_is_over_names_shapes_and_values(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(6.0, 12.0).view(2, 3)}
    assert weights_sha256(_Holding(state)) == weights_sha256(_Holding(dict(reversed(state.items()))))
    assert weights_sha256(_Holding(state)) != weights_sha256(_Holding(change(state)))


def test_the_hash_does_not_ask_in_which_precision_the_weights_lie() -> None:
    values = torch.tensor([1.0, 0.5, -3.25])
    assert weights_sha256(_Holding({"a": values})) == weights_sha256(_Holding({"a": values.half()}))


def test_projections_are_found_by_kind_and_unknown_kinds_all_refused(tiny_backbone: Callable[[], Backbone]) -> None:
    backbone = tiny_backbone()
    found = backbone.find(["value", "mlp_out"])
    assert [(p.kind, p.pattern, p.part, p.parts) for p in found] == [
        ("value", "blocks.*.attn.qkv", 2, 3),
        ("mlp_out", "blocks.*.mlp.fc2", 0, 1),
    ]
    with pytest.raises(MethodError) as caught:
        backbone.find(["querry", "value", "vlaue"])
    assert [fault.got for fault in caught.value.faults] == ["'querry'", "'vlaue'"]
    assert "backbone tiny" in str(caught.value)


def test_it_keeps_the_spec_it_was_given() -> None:
    spec = InputSpec(image_size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    backbone = Backbone(nn.Flatten(), spec=spec, width=192, projections={}, name="flat")
    assert backbone.spec is spec
    assert backbone.identity.image_size == 8
    assert backbone.identity.pretrained


class _Holding(nn.Module):
    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in state.items():
            self.register_buffer(name, tensor)
