"""Adapters go onto any module by name, are handled together, and come off again without a trace.

PEFT, which computes the update on activations and lets autograd do the rest, is the independent reference.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lorastream.adapters import AdaptedLinear, Adapters, Target, attach
from lorastream.backbones.projections import find_projections
from lorastream.errors import AdapterError

FUSED = [Target("blocks.*.qkv", part=0, parts=3, name="query"), Target("blocks.*.qkv", part=2, parts=3, name="value")]


class Block(nn.Module):
    """A stand-in for an attention block: a fused projection and one that is separate."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = self.qkv(inputs).chunk(3, dim=-1)
        return self.proj(torch.tanh(query * key + value))


class Network(nn.Module):
    """Two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.blocks(inputs)


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(4))


def _taught(adapters: Adapters, generator: torch.Generator, tasks: int = 2) -> Adapters:
    for _ in range(tasks):
        adapters.grow(2, generator=generator, up_std=0.3)
        adapters.freeze()
    return adapters


def test_attaching_and_growing_change_no_output(network: Network, inputs: Tensor, generator: torch.Generator) -> None:
    before = network(inputs)
    adapters = attach(network, FUSED)
    assert torch.equal(network(inputs), before)
    adapters.grow(2, generator=generator)
    assert torch.equal(network(inputs), before)
    assert [name for name, _ in adapters.items()] == [
        f"blocks.{block}.qkv/{part}" for block in (0, 1) for part in ("query", "value")
    ]
    assert len(adapters) == 4
    assert (adapters.ranks, adapters.live) == ([2], True)


def test_only_the_live_factors_learn(network: Network, generator: torch.Generator) -> None:
    adapters = attach(network, FUSED)
    assert adapters.parameters() == []
    adapters.grow(2, generator=generator)
    others = {name for name, p in network.named_parameters() if p.requires_grad and "adapters" not in name}
    assert others == {f"blocks.{block}.proj.{part}" for block in (0, 1) for part in ("weight", "bias")}
    assert [tuple(p.shape) for p in adapters.parameters()] == [(2, 8), (8, 2)] * 4


def test_each_projection_draws_its_own_numbers(network: Network, generator: torch.Generator) -> None:
    adapters = attach(network, FUSED)
    adapters.grow(2, generator=generator)
    downs = [adapter.down for adapter in adapters]
    assert not any(torch.equal(downs[0], other) for other in downs[1:])  # pyright: ignore[reportArgumentType]


def test_a_rank_that_one_projection_cannot_take_grows_none(generator: torch.Generator) -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    adapters = attach(network, [Target("*")])
    with pytest.raises(AdapterError, match="at most 3"):
        adapters.grow(5, generator=generator)
    assert [adapter.ranks for adapter in adapters] == [[], []]
    adapters.grow(3, generator=generator)


def test_a_fused_projection_moves_the_rows_of_its_targets_only(
    network: Network, inputs: Tensor, generator: torch.Generator
) -> None:
    plain = copy.deepcopy(network.blocks[0].qkv)
    _taught(attach(network, FUSED), generator)
    with torch.no_grad():
        moved = network.blocks[0].qkv(inputs) - plain(inputs)
    assert torch.equal(moved[:, 8:16], torch.zeros(5, 8))
    assert (moved[:, :8] != 0).all()
    assert (moved[:, 16:] != 0).all()


def test_merge_is_exact_and_unmerge_puts_back_bit_for_bit(
    network: Network, inputs: Tensor, generator: torch.Generator
) -> None:
    adapters = _taught(attach(network, FUSED), generator)
    with torch.no_grad():
        before = network(inputs)
        adapters.merge()
        assert adapters.merged
        assert {type(block.qkv) for block in network.blocks} == {nn.Linear}
        assert torch.equal(network(inputs), before)
        adapters.unmerge()
        adapters.unmerge()
        assert not adapters.merged
        assert {type(block.qkv) for block in network.blocks} == {AdaptedLinear}
        assert torch.equal(network(inputs), before)


def test_left_out_the_updates_are_as_if_there_were_none(
    network: Network, inputs: Tensor, generator: torch.Generator
) -> None:
    plain = network(inputs)
    adapters = _taught(attach(network, FUSED), generator)
    taught = network(inputs)
    with adapters.left_out():
        assert torch.equal(network(inputs), plain)
    assert torch.equal(network(inputs), taught)
    with pytest.raises(ZeroDivisionError), adapters.left_out():
        _ = 1 / 0
    assert torch.equal(network(inputs), taught)
    adapters.merge()
    with pytest.raises(AdapterError, match=r"(?s)adapters\.left_out.*merged already"), adapters.left_out():
        pass


def test_the_merged_network_has_the_names_of_the_plain_one(network: Network, generator: torch.Generator) -> None:
    names = list(network.state_dict())
    adapters = _taught(attach(network, FUSED), generator)
    adapters.merge()
    assert list(network.state_dict()) == names


def test_merging_twice_is_refused(network: Network) -> None:
    adapters = attach(network, FUSED)
    adapters.merge()
    with pytest.raises(AdapterError, match="merged already"):
        adapters.merge()


def test_what_was_saved_computes_the_same_elsewhere(
    network: Network, inputs: Tensor, generator: torch.Generator
) -> None:
    other = copy.deepcopy(network)
    adapters = _taught(attach(network, FUSED), generator)
    adapters.grow(1, generator=generator, up_std=0.3)
    tensors = adapters.tensors()
    loaded = attach(other, FUSED)
    loaded.load_tensors(tensors)
    assert (loaded.ranks, loaded.live) == ([2, 2, 1], False)
    assert torch.equal(other(inputs), network(inputs))
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.tensors().items())


def test_stored_updates_of_other_projections_are_refused(network: Network, generator: torch.Generator) -> None:
    adapters = _taught(attach(network, FUSED[:1]), generator)
    tensors = adapters.tensors()
    other = attach(Network(), FUSED)
    with pytest.raises(AdapterError, match=r"blocks\.0\.qkv/value"):
        other.load_tensors(tensors)


def test_freeze_thaw_and_clear_reach_every_projection(
    network: Network, inputs: Tensor, generator: torch.Generator
) -> None:
    before = network(inputs)
    adapters = _taught(attach(network, FUSED), generator)
    adapters.thaw()
    assert all(adapter.live for adapter in adapters)
    adapters.freeze()
    assert not adapters.live
    adapters.clear()
    assert adapters.ranks == []
    assert torch.equal(network(inputs), before)


def test_one_scaling_serves_all_and_its_gradient_is_the_sum(
    network: Network, inputs: Tensor, generator: torch.Generator, learning: Any
) -> None:
    adapters = _taught(attach(network.double(), FUSED), generator)
    adapters.grow(1, generator=generator, up_std=0.3)
    together = learning(torch.ones(3, dtype=torch.float64), lambda _, values: values)
    adapters.scale_by(together)
    network(inputs.double()).square().sum().backward()
    apart = [learning(torch.ones(3, dtype=torch.float64), lambda _, values: values) for _ in adapters]
    for adapter, own in zip(adapters, apart, strict=True):
        adapter.scaling = own
    network(inputs.double()).square().sum().backward()
    torch.testing.assert_close(together.values.grad, torch.stack([own.values.grad for own in apart]).sum(dim=0))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([Target("blocks.*.kqv")], r"(?s)blocks\.0\.qkv, blocks\.0\.proj.*'blocks\.\*\.kqv'"),
        ([Target("blocks.*.qkv", part=0, parts=5)], "(?s)the layer's 24 rows.*part 0 of 5"),
        ([Target("blocks.*.qkv", part=3, parts=3)], "part 3 of 3"),
        ([Target("blocks.*.qkv", part=-1, parts=3)], "part -1 of 3"),
        ([Target("blocks.*.qkv", part=0, parts=0)], "part 0 of 0"),
        ([Target("blocks.*.qkv"), Target("blocks.*.qkv", part=1, parts=3)], "rows 8 to 15 twice"),
        ([Target("*.qkv", part=1, parts=2), Target("*.qkv", part=1, parts=4)], "'part1' twice"),
    ],
)
def test_targets_that_cannot_be_met_are_refused(network: Network, targets: list[Target], message: str) -> None:
    before = {name: type(module) for name, module in network.named_modules()}
    with pytest.raises(AdapterError, match=message):
        attach(network, targets)
    assert {name: type(module) for name, module in network.named_modules()} == before


def test_a_layer_that_is_adapted_already_is_refused(network: Network) -> None:
    attach(network, FUSED[:1])
    with pytest.raises(AdapterError, match=r"(?s)blocks\.0\.qkv.*adapted already"):
        attach(network, FUSED[1:])
    attach(network, [Target("blocks.*.proj")])


def test_a_network_that_is_itself_the_layer_cannot_be_replaced() -> None:
    with pytest.raises(AdapterError, match="there are none"):
        attach(nn.Linear(2, 2), [Target("*")])


def test_it_works_on_any_module(generator: torch.Generator) -> None:
    network = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    inputs, labels = torch.randn(32, 4, generator=generator), torch.arange(32) % 2
    adapters = attach(network, [Target("0"), Target("2")])
    adapters.grow(rank=2, generator=generator)
    optimiser = torch.optim.Adam(adapters.parameters(), lr=0.05)
    losses: list[float] = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(network(inputs), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    adapters.freeze()
    outputs = network(inputs)
    adapters.merge()
    assert torch.equal(network(inputs), outputs)


class Attention(nn.Module):
    """A network with the layer names that PEFT's users know."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(16, 12)
        self.value = nn.Linear(16, 12)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.query(inputs)) * self.value(inputs)


@pytest.mark.parametrize("rank", [2, 12], ids=["few ranks", "many ranks"])
def test_peft_computes_the_same_outputs_and_gradients(rank: int, generator: torch.Generator) -> None:
    from peft import LoraConfig, get_peft_model

    ours = Attention().double()
    theirs: Any = get_peft_model(
        copy.deepcopy(ours),  # pyright: ignore[reportArgumentType]
        LoraConfig(r=rank, lora_alpha=rank // 2, lora_dropout=0.0, target_modules=["query", "value"]),
    )
    adapters = attach(ours, [Target("query"), Target("value")])
    for adapter, name in zip(adapters, ("query", "value"), strict=True):
        down = torch.randn(rank, 16, generator=generator, dtype=torch.float64)
        up = torch.randn(12, rank, generator=generator, dtype=torch.float64)
        adapter.load(up, down, torch.full((rank,), 0.5), [rank])
        with torch.no_grad():
            layer = getattr(theirs.base_model.model, name)
            layer.lora_A["default"].weight.copy_(down)
            layer.lora_B["default"].weight.copy_(up)
    adapters.thaw()
    found: list[list[Tensor]] = []
    for network, parameters in ((ours, adapters.parameters()), (theirs, _learning(theirs))):
        inputs = torch.linspace(-1, 1, 3 * 5 * 16, dtype=torch.float64).view(3, 5, 16).requires_grad_()
        outputs = network(inputs)
        found.append([outputs, *torch.autograd.grad(outputs.square().sum(), [inputs, *parameters])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)


def _learning(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def test_hugging_face_layers_apart(generator: torch.Generator) -> None:
    from transformers import ViTConfig, ViTModel

    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    network = ViTModel(ViTConfig(**sizes, intermediate_size=32, image_size=8, patch_size=4)).eval()
    targets = [
        Target(found.pattern, name=kind)
        for kind, projections in find_projections(network).items()
        if kind in {"query", "value"}
        for found in projections
    ]
    images = torch.randn(2, 3, 8, 8, generator=generator)
    compute: Callable[[], Tensor] = lambda: network(pixel_values=images).last_hidden_state  # noqa: E731 (said three times)
    before = compute()
    adapters = attach(network, targets)
    assert len(adapters) == 4
    adapters.grow(2, generator=generator)
    assert torch.equal(compute(), before)
    optimiser = torch.optim.SGD(adapters.parameters(), lr=1.0)
    compute()[:, 0, 0].sum().backward()
    optimiser.step()
    with torch.no_grad():
        after = compute()
        assert not torch.allclose(after, before)
        adapters.merge()
        torch.testing.assert_close(compute(), after, atol=1e-6, rtol=0)


def test_a_new_task_freezes_what_is_live_and_changes_no_output(network: Network, inputs: Tensor) -> None:
    adapters = attach(network, "*")
    assert adapters.parameters() == []
    for task in range(3):
        with torch.no_grad():
            before = network(inputs)
        learning = adapters.new_task(rank=2)
        with torch.no_grad():
            assert torch.allclose(network(inputs), before, atol=1e-6)
            for parameter in learning:
                parameter.add_(0.1)
        assert adapters.ranks == [2] * (task + 1)
        assert {id(p) for p in learning} == {id(p) for p in adapters.parameters()}
    with torch.no_grad():
        before = network(inputs)
        adapters.merge()
        assert torch.allclose(network(inputs), before, atol=1e-6)
    with pytest.raises(AdapterError, match=r"(?s)adapters\.new_task.*merged already"):
        adapters.new_task()


def test_a_new_task_draws_from_the_generator_given_or_from_torchs_own(network: Network) -> None:
    adapters = attach(network, ["*"])
    torch.manual_seed(3)
    first = [p.detach().clone() for p in adapters.new_task(2)]
    second = [p.detach().clone() for p in adapters.new_task(2, generator=torch.Generator().manual_seed(3))]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
