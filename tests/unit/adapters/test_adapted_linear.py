"""One product with the composed weight, and gradients by hand that are those of autograd through the composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lorastream.adapters import AdaptedLinear, Adapter, Target, attach
from lorastream.adapters.adapted_linear import Rows

WIDTH = 12  # of the input and of each of the three row slices of a fused weight
FUSED = {"query": Rows(0, WIDTH), "value": Rows(2 * WIDTH, 3 * WIDTH)}
FORMS: dict[str, Callable[[Adapter, Tensor], Tensor]] = {
    "as it is": lambda _, values: values,
    "squared": lambda _, values: values**2,
    # As a method that normalises the current update: the scale itself depends on the live factors.
    "normalised": lambda adapter, values: torch.cat(
        [values[:-1], values[-1:] / (torch.linalg.norm(adapter.up) * torch.linalg.norm(adapter.down))]  # pyright: ignore[reportArgumentType]
    ),
}


def _fused(past: list[int], live: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> AdaptedLinear:
    """Return a fused projection with past updates and a live one, none of them zero."""
    generator = torch.Generator().manual_seed(seed)
    base = nn.Linear(WIDTH, 3 * WIDTH, dtype=dtype)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / WIDTH**0.5)
    layer = AdaptedLinear(base.requires_grad_(requires_grad=False), FUSED)
    for adapter in _adapters(layer):
        for rank in past:
            adapter.grow(rank, generator=generator, up_std=0.5)
            adapter.freeze()
        adapter.grow(live, generator=generator, up_std=0.5)
    return layer


def _adapters(layer: AdaptedLinear) -> list[Adapter]:
    return [adapter for adapter in layer.adapters.values() if isinstance(adapter, Adapter)]


def _scaled(layer: AdaptedLinear, scaling: Any) -> None:
    for adapter in _adapters(layer):
        adapter.scaling = scaling


def _inputs(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _reference(layer: AdaptedLinear, inputs: Tensor) -> Tensor:
    """Compute the same with a weight that is composed before the eyes of autograd."""
    slices = list(layer.base.weight.split(WIDTH))
    for rows, adapter in layer.parts():
        scales = adapter.column_scale().split(adapter.ranks)
        factors = list(adapter.factors())
        if adapter.up is not None and adapter.down is not None:
            factors[-1] = (adapter.up, adapter.down)
        part = rows.first // WIDTH
        slices[part] = slices[part] + sum((up * s) @ down for (up, down), s in zip(factors, scales, strict=True))
    return F.linear(inputs, torch.cat(slices), layer.base.bias)


def _composed_exactly(layer: AdaptedLinear) -> Tensor:
    """Return the composed weight in float64, `[out, in]`."""
    exact = layer.base.weight.double()
    for rows, adapter in layer.parts():
        scaled = adapter.up_stack.double() * adapter.scale.double()
        exact[rows.slice] += scaled @ adapter.down_stack.double()
    return exact


def _gradients(outputs: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    upstream = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2)).to(outputs.dtype)
    return torch.autograd.grad((outputs * upstream).sum(), wanted)


class _Products(TorchDispatchMode):
    """Notes the shape of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.mm.default:
            self.shapes.add(tuple(found.shape))
        return found


def test_by_hand(learning: Any) -> None:
    """A 2 x 3 layer, one update of rank 1, scale ½.

    W0 = [[1, 2, 3], [4, 5, 6]], b = [10, -10], D = [1, 0, -1], U = [2, -1]', s = ½, so
    W = W0 + ½ U D = [[2, 2, 2], [3.5, 5, 6.5]].
    With x = [[1, 2, 3], [0, 1, -1]]: x W' + b = [[12, 33], [0, -1.5]] + b = [[22, 23], [10, -11.5]].
    With g = [[1, 2], [3, -1]] coming back, G = g' x = [[1, 5, 0], [2, 3, 7]] and
    dD = s U' G = ½ (2 [1, 5, 0] - [2, 3, 7]) = [0, 3.5, -3.5]
    dU = s G D' = ½ [1, -5]' = [0.5, -2.5]'
    ds = U' G D' = [2, -1] [1, -5]' = 7
    dx = g W = [[9, 12, 15], [2.5, 1, -0.5]].
    """
    base = nn.Linear(3, 2, dtype=torch.float64).requires_grad_(requires_grad=False)
    base.weight.copy_(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    base.bias.copy_(torch.tensor([10.0, -10]))
    layer = AdaptedLinear(base, {"all": Rows(0, 2)})
    (adapter,) = _adapters(layer)
    adapter.load(torch.tensor([[2.0], [-1]]), torch.tensor([[1.0, 0, -1]]), torch.ones(1), [1])
    adapter.thaw()
    scaling = learning(torch.tensor([0.5], dtype=torch.float64), lambda _, values: values)
    adapter.scaling = scaling
    inputs = torch.tensor([[1.0, 2, 3], [0, 1, -1]], dtype=torch.float64, requires_grad=True)
    outputs = layer(inputs)
    outputs.backward(torch.tensor([[1.0, 2], [3, -1]], dtype=torch.float64))
    assert layer.composed_weight(torch.float64).tolist() == [[2, 2, 2], [3.5, 5, 6.5]]
    assert outputs.tolist() == [[22, 23], [10, -11.5]]
    found = {"down": adapter.down, "up": adapter.up, "scale": scaling.values, "inputs": inputs}
    assert {name: t.grad.tolist() for name, t in found.items()} == {  # pyright: ignore[reportOptionalMemberAccess]
        "down": [[0, 3.5, -3.5]],
        "up": [[0.5], [-2.5]],
        "scale": [7],
        "inputs": [[9, 12, 15], [2.5, 1, -0.5]],
    }


@pytest.mark.parametrize("form", [None, *FORMS])
@pytest.mark.parametrize(("past", "live", "dense"), [([], 1, False), ([1], 1, False), ([3, 4], 6, True)])
@pytest.mark.parametrize("shape", [(5,), (2, 3)], ids=["2-D", "3-D"])
def test_gradients_are_those_of_autograd_through_the_composed_weight(
    past: list[int], live: int, dense: bool, shape: tuple[int, ...], form: str | None, learning: Any
) -> None:
    layer = _fused(past, live)
    scaling = learning(torch.linspace(0.4, 1.2, len(past) + 1, dtype=torch.float64), FORMS[form or "as it is"])
    if form is not None:
        _scaled(layer, scaling)
    inputs = _inputs(*shape).requires_grad_()
    wanted = [inputs, *layer.adapters.parameters(), *((scaling.values,) if form is not None else ())]
    expected = _gradients(_reference(layer, inputs), wanted)
    outputs = layer(inputs)
    torch.testing.assert_close(outputs, _reference(layer, inputs))
    with _Products() as products:
        found = _gradients(outputs, wanted)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)
    # The dense gradient of a row slice is formed only where it is the cheaper way.
    assert ((WIDTH, WIDTH) in products.shapes) is dense


@pytest.mark.parametrize("past", [[], [1], [3, 4]])
def test_gradcheck(past: list[int], learning: Any) -> None:
    layer = _fused(past, 1)
    values = torch.linspace(0.4, 1.2, len(past) + 1, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters() if "adapters" in name]

    def compute(inputs: Tensor, values: Tensor, *factors: Tensor) -> Tensor:
        scaling = learning(torch.empty(0), lambda _, __: values)
        _scaled(layer, scaling)
        # Copies, as gradcheck changes its arguments behind the back of their version counters.
        state = {name: factor.clone() for name, factor in zip(names, factors, strict=True)}
        return torch.func.functional_call(layer, state, (inputs,))

    factors = [p.detach().clone().requires_grad_() for n, p in layer.named_parameters() if n in names]
    inputs = _inputs(2).requires_grad_()
    assert torch.autograd.gradcheck(compute, (inputs, values.requires_grad_(), *factors))


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    layer = _fused([], 1)
    parameters = list(layer.adapters.parameters())
    first = torch.autograd.grad(layer(_inputs(3)).square().sum(), parameters, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first[0].sum().backward()


def test_factors_that_change_before_the_backward_pass_are_noticed() -> None:
    layer = _fused([], 1)
    loss = layer(_inputs(3)).square().sum()
    with torch.no_grad():
        _adapters(layer)[0].up.add_(1.0)  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_two_forward_passes_add_their_gradients() -> None:
    layer = _fused([2], 2)
    parameters = list(layer.adapters.parameters())
    inputs = _inputs(4), _inputs(3, seed=9)
    found = torch.autograd.grad(sum(layer(x).square().sum() for x in inputs), parameters)
    expected = torch.autograd.grad(sum(_reference(layer, x).square().sum() for x in inputs), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("past", "live"), [([1], 1), ([3, 4], 6)])
def test_autocast_computes_in_its_type_and_comes_near(past: list[int], live: int) -> None:
    layer = _fused(past, live, dtype=torch.float32)
    inputs = _inputs(40, dtype=torch.float32).requires_grad_()
    wanted = [inputs, *layer.adapters.parameters()]
    expected = layer(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = layer(inputs)
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), expected, atol=0.05, rtol=0.02)
    for one, other in zip(_gradients(outputs, wanted), _gradients(expected, wanted), strict=True):
        assert one.dtype == torch.float32
        assert torch.linalg.norm(one - other) < 0.02 * torch.linalg.norm(other)


def test_in_bfloat16_the_weight_is_as_near_as_its_factors_are() -> None:
    """Against float64, for every entry: the weight is rounded once, and of the updates four things more."""
    layer = _fused([2] * 60, 2, dtype=torch.float32)
    exact = _composed_exactly(layer)
    size = torch.zeros_like(exact)  # of the updates, had none of their terms another sign
    for rows, adapter in layer.parts():
        size[rows.slice] = adapter.up_stack.double().abs() @ adapter.down_stack.double().abs()
    rounded = layer.composed_weight(torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    error = (rounded.double() - exact).abs()
    assert (error <= 2**-8 * (exact.abs() + 4 * size) + 1e-5).all()
    assert error.max() > 1e-4  # it was rounded


def test_in_bfloat16_small_updates_cost_no_more_than_rounding_the_weight() -> None:
    """Against float64, over all entries: a hundred updates that come to a tenth of the weight add less than a tenth."""
    layer = _fused([2] * 100, 2, dtype=torch.float32)
    for adapter in _adapters(layer):
        adapter.scale *= 0.1 * torch.linalg.norm(layer.base.weight[:WIDTH]) / torch.linalg.norm(adapter.delta())
    exact = _composed_exactly(layer)
    error = torch.linalg.norm(layer.composed_weight(torch.bfloat16).double() - exact)
    rounding = torch.linalg.norm(exact.to(torch.bfloat16).double() - exact)
    assert 0 < error < 1.1 * rounding


@pytest.mark.parametrize("scales_learn", [True, False])
def test_in_bfloat16_the_gradients_of_many_updates_come_near(scales_learn: bool, learning: Any) -> None:
    """Through the dense g' x, whose products with a hundred updates are taken in bfloat16 too."""
    layer = _fused([2] * 100, 2, dtype=torch.float32)
    magnitudes = learning(torch.linspace(0.01, 0.1, 101), FORMS["as it is"])
    if scales_learn:
        _scaled(layer, magnitudes)
    wanted = [*layer.adapters.parameters(), *([magnitudes.values] if scales_learn else [])]
    inputs = _inputs(400, dtype=torch.float32)
    expected = _gradients(_reference(layer, inputs), wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = layer(inputs)
    for one, other in zip(_gradients(outputs, wanted), expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.linalg.norm(one - other) < 0.01 * torch.linalg.norm(other)


def test_only_the_rows_of_its_adapters_change() -> None:
    layer, inputs = _fused([2], 3), _inputs(4)
    with torch.no_grad():
        before = layer.base(inputs).split(WIDTH, dim=-1)
        after = layer(inputs).split(WIDTH, dim=-1)
    assert torch.equal(after[1], before[1])
    assert not torch.isclose(after[0], before[0]).any()
    assert not torch.isclose(after[2], before[2]).any()


def test_without_updates_it_is_the_linear_layer() -> None:
    base = nn.Linear(3, 2)
    layer = AdaptedLinear(base, {"all": Rows(0, 2)})
    inputs = torch.randn(5, 3)
    assert torch.equal(layer(inputs), base(inputs))
    assert (layer.in_features, layer.out_features) == (3, 2)


def test_a_layer_without_bias() -> None:
    layer = AdaptedLinear(nn.Linear(3, 2, bias=False), {"all": Rows(0, 2)})
    inputs = torch.randn(5, 3)
    merged = layer.merged_linear()
    assert merged.bias is None
    assert torch.equal(layer(inputs), merged(inputs))


def test_merged_it_is_a_plain_layer_that_computes_the_same() -> None:
    layer, inputs = _fused([1, 2], 3), _inputs(4)
    merged = layer.merged_linear()
    assert type(merged) is nn.Linear
    assert not any(p.requires_grad for p in merged.parameters())
    with torch.no_grad():
        assert torch.equal(merged(inputs), layer(inputs))
        merged.weight.zero_()
    torch.testing.assert_close(layer(inputs), _reference(layer, inputs))


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[Adapter]:
    """Note every time that an adapter's updates are composed."""
    noted: list[Adapter] = []
    compose = Adapter.compose

    def noting(adapter: Adapter, weight: Tensor, scale: Tensor, *, out: Tensor) -> None:
        noted.append(adapter)
        compose(adapter, weight, scale, out=out)

    monkeypatch.setattr(Adapter, "compose", noting)
    return noted


def test_nothing_is_composed_anew_while_nothing_can_have_changed(compositions: list[Adapter]) -> None:
    layer = _fused([1], 2)
    for _ in range(3):
        layer(_inputs(2))
    with torch.inference_mode():
        layer(_inputs(2))
    assert compositions == _adapters(layer)
    layer(_inputs(2, dtype=torch.float32))
    assert len(compositions) == 4


def test_several_backward_passes_share_what_is_composed_where_nothing_changes(
    compositions: list[Adapter], generator: torch.Generator
) -> None:
    """As those of micro-batches; afterwards, and after a change within, it is composed anew."""
    adapters = attach(nn.Sequential(nn.Linear(4, 4)).double(), [Target("0")])
    adapters.grow(2, generator=generator, up_std=0.5)
    layer, inputs = adapters.layers["0"], torch.ones(3, 4, dtype=torch.float64)
    with adapters.unchanged():
        for _ in range(3):
            layer(inputs).sum().backward()
        assert len(compositions) == 1
        with torch.no_grad():
            adapters.parameters()[0].add_(1.0)  # the promise is broken, which torch counts
        layer(inputs).sum().backward()
        assert len(compositions) == 2
    layer(inputs)
    assert len(compositions) == 3


def test_a_change_that_torch_does_not_count_can_be_told(compositions: list[Adapter]) -> None:
    layer, inputs = _fused([1], 2), _inputs(3)
    layer(inputs)
    _adapters(layer)[0].up.data.mul_(2.0)  # pyright: ignore[reportOptionalMemberAccess]
    layer.may_have_changed()
    torch.testing.assert_close(layer(inputs), _reference(layer, inputs))
    assert len(compositions) == 4


OPTIMISERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "sgd foreach": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, foreach=True),
    "adam foreach": lambda parameters: torch.optim.Adam(parameters, lr=0.1, foreach=True),
    # Fused ones change parameters without counting it as a new version.
    "adamw fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_it_is_composed_anew_after_every_optimiser_step(name: str, compositions: list[Adapter], learning: Any) -> None:
    layer, inputs = _fused([1], 2), _inputs(3)
    scaling = learning(torch.ones(2, dtype=torch.float64), FORMS["as it is"])
    _scaled(layer, scaling)
    optimiser = OPTIMISERS[name]([*layer.adapters.parameters(), scaling.values])
    for step in range(1, 4):
        optimiser.zero_grad()
        layer(inputs).square().sum().backward()
        optimiser.step()
        torch.testing.assert_close(layer(inputs), _reference(layer, inputs))
        assert len(compositions) == 2 * (step + 1)


@pytest.mark.parametrize("alone", ["up", "down", "scale", "base"])
def test_a_change_of_any_one_tensor_is_noticed(alone: str, learning: Any) -> None:
    layer, inputs = _fused([1], 2), _inputs(3)
    scaling = learning(torch.ones(2, dtype=torch.float64), FORMS["as it is"])
    _scaled(layer, scaling)
    adapter = _adapters(layer)[1]
    before = layer(inputs)
    with torch.no_grad():
        changed = {"up": adapter.up, "down": adapter.down, "scale": scaling.values, "base": layer.base.weight}[alone]
        changed.mul_(2.0)  # pyright: ignore[reportOptionalMemberAccess]
    after = layer(inputs)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, _reference(layer, inputs))


def test_updates_that_are_loaded_are_never_taken_for_those_before() -> None:
    """A tensor may get the identity of one that is gone: whoever compares identities must keep what they belong to."""
    base = nn.Linear(4, 4)
    layer = AdaptedLinear(base, {"all": Rows(0, 4)})
    (adapter,) = _adapters(layer)
    inputs, scale = torch.randn(2, 4), torch.ones(1)
    factors = [(torch.randn(4, 1), torch.randn(1, 4)) for _ in range(12)]
    for unseen in (1, 2, 3, 4):  # so many are loaded for each one that is composed
        for _ in range(25):
            for index, (up, down) in enumerate(factors):
                adapter.load(up, down, scale, [1])
                if index % unseen == 0:
                    torch.testing.assert_close(layer(inputs), F.linear(inputs, base.weight + up @ down, base.bias))


def test_a_training_step_right_after_an_evaluation_learns(compositions: list[Adapter]) -> None:
    layer, inputs = _fused([1], 2), _inputs(3)
    with torch.inference_mode():
        seen = layer(inputs)
        layer.merged_linear()
    outputs = layer(inputs)
    outputs.square().sum().backward()
    assert torch.equal(outputs.detach(), seen.clone())
    assert all(p.grad is not None and p.grad.any() for p in layer.adapters.parameters())
    assert compositions == _adapters(layer)


def test_past_updates_ask_for_no_gradient() -> None:
    layer = _fused([1], 2)
    for adapter in _adapters(layer):
        adapter.freeze()
    inputs = _inputs(3).requires_grad_()
    outputs = layer(inputs)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad, layer.composed_weight(torch.float64).sum(dim=0).expand(3, -1))
    assert not layer(_inputs(3)).requires_grad
