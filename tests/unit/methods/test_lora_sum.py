"""The update of every task stays in the sum, the loss is that of the formula, and the Fisher information is exact.

The references here form every product and take every image's gradient by itself, in float64, on a plain network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lorastream import methods
from lorastream.linalg.penalties import random_basis
from lorastream.methods.fisher import fisher_information
from lorastream.methods.lora_sum import LoRASum
from lorastream.methods.protocol import learnt_state, load_learnt_state

PENALTIES = ["none", "orthogonal", "sparse", "null_space", "fisher"]
PARTS = ("query", "key", "value")
WIDTH = 32
WEIGHTS = {"none": 0.0, "orthogonal": 0.5, "sparse": 0.4, "null_space": 1.0, "fisher": 1e7}


def _update(adapter: Any) -> Tensor:
    """Return the live update, formed."""
    return (adapter.up @ adapter.down).detach()


def _moved(taught: Any) -> Any:
    """Move the live factors off their start, so that no penalty is zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for adapter in taught.model.adapters:
            adapter.up.normal_(0, 0.1, generator=generator)
    return taught


def _gradient_of_one_image(taught: Any, plain: Any, image: Tensor, label: int, first: int) -> dict[str, Tensor]:
    """Return by adapter name the gradient of one image's local cross-entropy by the rows of the composed weight."""
    weights = {f"blocks.{i}.attn.qkv": block.attn.qkv.weight for i, block in enumerate(plain.blocks)}
    logits = taught.model.head(plain(image[None]))[:, first:]
    loss = F.cross_entropy(logits, torch.tensor([label - first]))
    dense = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    parts = [(name, *name.split("/")) for name, _ in taught.model.adapters.items()]
    rows = {part: slice(i * WIDTH, (i + 1) * WIDTH) for i, part in enumerate(PARTS)}
    return {name: dense[layer][rows[part]] for name, layer, part in parts}


def _plain(taught: Any, backbone: Any) -> Any:
    """Return a plain network in float64 whose fused weights are the composed ones."""
    plain = backbone.network.double()
    with torch.no_grad():
        for name, adapter in taught.model.adapters.items():
            layer, _, part = name.partition("/")
            row = PARTS.index(part) * WIDTH
            plain.get_submodule(layer).weight[row : row + WIDTH] += adapter.delta()
    return plain.requires_grad_(requires_grad=True)


def _reference(taught: Any, backbone: Any, task: Any, labels: Tensor | None = None) -> dict[str, Tensor]:
    """Return the mean over the images of each image's squared gradient, one image at a time."""
    plain, batch = _plain(taught, backbone), taught.batch(task)
    labels = batch.labels if labels is None else labels
    sums = {name: torch.zeros(WIDTH, WIDTH, dtype=torch.float64) for name, _ in taught.model.adapters.items()}
    for image, label in zip(batch.images, labels.tolist(), strict=True):
        for name, gradient in _gradient_of_one_image(taught, plain, image, label, task.first_class).items():
            sums[name] += gradient.square() / len(batch)
    return sums


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_weight_is_the_sum_of_all_updates(trial: Any, penalty: str) -> None:
    taught = trial("lora_sum", rank=2, penalty=penalty, weight=0.01)
    sums: dict[str, Tensor] = {}
    for index in range(3):
        task = taught.begin(index)
        _moved(taught)
        for name, adapter in taught.model.adapters.items():
            before = sums.get(name, torch.zeros(WIDTH, WIDTH, dtype=torch.float64))
            torch.testing.assert_close(adapter.delta(), before + _update(adapter), atol=1e-12, rtol=1e-12)
            sums[name] = before + _update(adapter)
        taught.method.after_task(taught.model, task)
    for name, adapter in taught.model.adapters.items():
        torch.testing.assert_close(adapter.delta(), sums[name], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_only_the_orthogonal_penalty_keeps_factors_after_a_task(trial: Any, penalty: str) -> None:
    taught = trial("lora_sum", rank=2, penalty=penalty, weight=0.01)
    sizes = []
    for index in range(3):
        taught.end(taught.begin(index))
        sizes.append(sum(tensor.numel() for tensor in taught.model.tensors()["adapters"].values()))
    if penalty == "orthogonal":
        assert taught.model.adapters.ranks == [2, 2, 2]
        assert sizes[0] < sizes[1] < sizes[2]
    else:
        assert taught.model.adapters.ranks == []
        assert sizes[0] == sizes[1] == sizes[2]


def _expected_penalty(taught: Any, name: str, adapter: Any, past: list[Tensor]) -> float:
    """Compute R of a projection apart."""
    update, up, down = _update(adapter), adapter.up.detach(), adapter.down.detach()
    match taught.method.penalty:
        case "orthogonal":
            power = 1 if taught.method.overlap == "absolute" else 2
            return sum(abs(float(old @ new)) ** power for rows in past for old in rows for new in down)
        case "sparse":
            return float(update.abs().sum())
        case "null_space":
            generator = taught.model.randomness.torch("null space", name)
            size = round(taught.method.null_space_share * WIDTH)
            reads, writes = (random_basis(WIDTH, size, generator=generator) for _ in range(2))
            return float(torch.linalg.norm(down @ reads) ** 2 + torch.linalg.norm(up.mT @ writes) ** 2)
        case "fisher":
            return float((taught.method.fisher_[name] * update**2).sum() / 2)
        case _:
            return 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "none"},
        {"penalty": "orthogonal"},
        {"penalty": "orthogonal", "overlap": "squared", "weight": 3.0},
        {"penalty": "sparse"},
        {"penalty": "null_space", "null_space_share": 0.25},
        {"penalty": "fisher", "targets": ["key", "value"], "weight": 100.0},
    ],
    ids=str,
)
def test_the_loss_is_that_of_the_formula(trial: Any, options: dict[str, Any]) -> None:
    taught = trial("lora_sum", rank=2, **options).teach(2)
    past = {name: [down.clone() for _, down in adapter.factors()] for name, adapter in taught.model.adapters.items()}
    task = taught.begin(2)
    _moved(taught)
    batch = taught.batch(task)
    logits = taught.model(batch.images)[:, 4:]
    added = sum(_expected_penalty(taught, name, a, past[name]) for name, a in taught.model.adapters.items())
    expected = F.cross_entropy(logits, batch.labels - 4).item() + taught.method.weight * added
    assert taught.loss(task).item() == pytest.approx(expected, rel=1e-5)
    assert bool(added) is (options["penalty"] != "none")


@pytest.mark.parametrize("penalty", PENALTIES[1:])
def test_the_gradients_of_fit_and_penalty_add_up(trial: Any, penalty: str) -> None:
    """The factors' gradients are written by hand in the forward pass and by autograd in the penalty."""
    taught = trial("lora_sum", rank=2, penalty=penalty, weight=0.5).teach(1)
    task = taught.begin(1)
    _moved(taught)
    factors = [p for adapter in taught.model.adapters for p in (adapter.up, adapter.down)]
    both = torch.autograd.grad(taught.loss(task), factors)
    taught.method._penalties, penalties = [], taught.method._penalties
    fit = torch.autograd.grad(taught.loss(task), factors)
    alone = torch.autograd.grad(0.5 * sum(one() for one in penalties), factors, materialize_grads=True)
    for whole, first, second in zip(both, fit, alone, strict=True):
        torch.testing.assert_close(whole, first + second, atol=1e-10, rtol=1e-6)
    assert any(gradient.abs().max() > 1e-6 for gradient in alone)


@pytest.mark.parametrize(("penalty", "weight"), list(WEIGHTS.items()))
def test_where_no_weight_is_given_it_is_the_sources(penalty: str, weight: float) -> None:
    assert methods.build("lora_sum", {"penalty": penalty}).weight == weight  # pyright: ignore[reportAttributeAccessIssue]
    assert methods.build("lora_sum", {"penalty": penalty, "weight": 0.0}).weight == 0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("preset", "penalty", "weight", "targets", "training"),
    [
        ("o_lora", "orthogonal", 0.5, ("query", "value"), {}),
        ("n_lora", "sparse", 0.4, ("query", "value"), {"optimiser": "adam", "lr": 5e-4}),
        ("clora", "null_space", 1.0, ("query", "value"), {}),
        ("ewc_lora", "fisher", 1e7, ("key", "value"), {"optimiser": "adam", "lr": 5e-4}),
    ],
)
def test_the_presets_are_the_papers(
    preset: str, penalty: str, weight: float, targets: tuple[str, ...], training: dict[str, Any]
) -> None:
    method: Any = methods.build(preset, {})
    assert isinstance(method, LoRASum)
    assert (method.penalty, method.weight, method.targets, method.rank) == (penalty, weight, targets, 10)
    assert methods.preset_training(preset) == training


def test_under_autocast_the_penalty_stays_in_float32(trial: Any) -> None:
    taught = trial("lora_sum", rank=2, penalty="sparse", weight=1.0)
    taught.model.float()
    task = taught.begin(0)
    taught.model.float()
    _moved(taught)
    expected = sum(_update(adapter).double().abs().sum().item() for adapter in taught.model.adapters)
    (batch,) = task.train.batches(1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = taught.method.loss(taught.model, batch, task)
        taught.method._penalties, whole = [], loss.item()
        fit = taught.method.loss(taught.model, batch, task).item()
    assert loss.dtype == torch.float32
    assert whole - fit == pytest.approx(expected, rel=1e-5)


def test_the_random_subspace_is_the_runs_and_is_not_stored(trial: Any) -> None:
    taught = trial("lora_sum", rank=2, penalty="null_space", null_space_share=0.5)
    bases = []
    for index in range(2):
        task = taught.begin(index)
        bases.append([partial.args[2:] for partial in taught.method._penalties])
        taught.end(task)
        assert taught.method._penalties == []
    assert all(torch.equal(a, b) for old, new in zip(*bases, strict=True) for a, b in zip(old, new, strict=True))
    assert all(basis.shape == (WIDTH, WIDTH // 2) for pair in bases[0] for basis in pair)
    flat = [basis for pair in bases[0] for basis in pair]
    assert not any(torch.equal(a, b) for i, a in enumerate(flat) for b in flat[:i])
    assert learnt_state(taught.method) == {}


def test_the_fisher_information_is_the_mean_of_every_images_squared_gradient(
    trial: Any, tiny_backbone: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorastream.methods.fisher.IMAGES_AT_ONCE", 3)  # eight images: two whole batches and one of two
    taught = trial("lora_sum", rank=2, penalty="fisher", targets=["key", "value"], weight=10.0).teach(1)
    task = taught.begin(1)
    _moved(taught)
    taught.model.adapters.freeze()
    expected = _reference(taught, tiny_backbone(), task)
    found = fisher_information(taught.model, task, "data")
    assert found.keys() == expected.keys()
    assert set(found) == {f"blocks.{i}.attn.qkv/{part}" for i in (0, 1) for part in ("key", "value")}
    for name, fisher in found.items():
        # The loss, and so where the gradients begin, is float32 in every method.
        torch.testing.assert_close(fisher, expected[name], atol=1e-10, rtol=1e-5)
        assert fisher.max() > 1e-6


def test_it_leaves_no_gradient_and_no_hook_behind(trial: Any) -> None:
    taught = trial("lora_sum", rank=2).teach(1)
    fisher_information(taught.model, taught.task(0), "data")
    assert all(p.grad is None for p in taught.model.parameters())
    assert not any(layer._forward_hooks for layer in taught.model.adapters.layers.values())


def test_labels_may_be_drawn_from_the_model(trial: Any, tiny_backbone: Callable[[], Any]) -> None:
    """Of a model that is certain, every label drawn is the one it is certain of, and always one of the task's."""
    taught = trial("lora_sum", rank=2).teach(2)
    task = taught.task(1)
    with torch.no_grad():
        taught.model.head.biases[0].fill_(1000.0)  # the first task's: must have no say
        taught.model.head.biases[1].copy_(torch.tensor([0.0, 60.0]))
    expected = _reference(taught, tiny_backbone(), task, torch.full((8,), 3))
    drawn, own = (fisher_information(taught.model, task, labels) for labels in ("model", "data"))  # pyright: ignore[reportArgumentType]
    for name, fisher in drawn.items():
        torch.testing.assert_close(fisher, expected[name], atol=1e-14, rtol=1e-8)
        assert fisher.max() < 1e-12 < own[name].max()


def test_labels_drawn_follow_from_the_run(trial: Any) -> None:
    taught = trial("lora_sum", rank=2).teach(1)
    first, second = (fisher_information(taught.model, taught.task(0), "model") for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("decay", [1.0, 0.5, 0.0])
def test_the_past_decays_in_the_sum(trial: Any, decay: float) -> None:
    taught = trial("lora_sum", rank=2, penalty="fisher", decay=decay, weight=10.0).teach(1)
    first = {name: fisher.clone() for name, fisher in taught.method.fisher_.items()}
    task = taught.begin(1)
    taught.end(task)
    new = fisher_information(taught.model, task, "data")
    for name, fisher in taught.method.fisher_.items():
        torch.testing.assert_close(fisher, decay * first[name] + new[name], atol=1e-12, rtol=1e-6)


def test_the_fisher_information_is_its_only_state_and_goes_through_saving(trial: Any) -> None:
    taught = trial("lora_sum", rank=2, penalty="fisher", weight=10.0).teach(1)
    state = learnt_state(taught.method)
    assert set(state) == {f"fisher_/{name}" for name, _ in taught.model.adapters.items()}
    loaded: Any = methods.build("lora_sum", {"penalty": "fisher", "weight": 10.0})
    load_learnt_state(loaded, state)
    assert all(torch.equal(fisher, taught.method.fisher_[name]) for name, fisher in loaded.fisher_.items())
    assert loaded.fisher_.keys() == taught.method.fisher_.keys()


@pytest.mark.parametrize(("key", "value"), [("null_space_share", 0.0), ("null_space_share", 1.5), ("decay", 1.1)])
def test_shares_beyond_the_whole_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        LoRASum(**{key: value})
