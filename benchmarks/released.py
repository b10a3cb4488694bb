"""The training steps of the released codes, written anew from their formulas, with the same numbers as ours.

Nothing here is copied: the formulas stand in the papers and in the specification of the project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks import INF_LORA, RANK, SD_LORA, Setup, Step, draw_factors

PARTS = {"query": 0, "key": 1, "value": 2}


def sd_lora_loop(setup: Setup, tasks: int) -> Step:
    """Make the released SD-LoRA step, written anew from its formula (spec section 1.1; code at 8bacded).

    Every task's two products on the activations, one after another, the past ones divided by the product of their
    norms; the magnitudes are shared by all projections. Its disk reads and throw-away layers are left out.
    """
    magnitudes = [nn.Parameter(torch.tensor(0.8, dtype=setup.kind, device=setup.device)) for _ in range(tasks)]
    return _looped(setup, SD_LORA, tasks, partial(LoopedQKV, magnitudes=magnitudes))


def inf_lora_loop(setup: Setup, tasks: int) -> Step:
    """Make the released InfLoRA step, written anew from its formula (spec section 4.2; code at e08b00e).

    At every forward pass the products of all tasks' factors are formed and summed, and the sum is applied to the input
    beside the frozen weight.
    """
    return _looped(setup, INF_LORA, tasks, SummedQKV)


class SlicedQKV(nn.Module):
    """A frozen fused qkv projection, two of whose three slices take updates task by task.

    Args:
        base: the projection.
        updates: for each slice's kind, `(up [out, R], down [R, in])` of all tasks; the last of them learns.
        learning_down: whether its `down` learns too.
    """

    def __init__(
        self, base: nn.Linear, updates: Mapping[str, tuple[Tensor, Tensor]], *, learning_down: bool = True
    ) -> None:
        super().__init__()
        self.base, self.kinds = base, tuple(updates)
        self.ups, self.downs = nn.ModuleDict(), nn.ModuleDict()
        for kind, (up, down) in updates.items():
            self.ups[kind] = _parameters(up.split(RANK, dim=1), learns=True)
            self.downs[kind] = _parameters(down.split(RANK), learns=learning_down)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `[..., 3 * width]`."""
        slices = list(self.base(inputs).chunk(3, dim=-1))
        for kind in self.kinds:
            ups, downs = list(self.ups[kind]), list(self.downs[kind])
            slices[PARTS[kind]] = self.updated(slices[PARTS[kind]], inputs, ups, downs)
        return torch.cat(slices, dim=-1)

    def updated(self, outputs: Tensor, inputs: Tensor, ups: list[Tensor], downs: list[Tensor]) -> Tensor:
        """Return a slice of the outputs with its updates added."""
        raise NotImplementedError


class LoopedQKV(SlicedQKV):
    """SD-LoRA's: a loop over the tasks on the activations."""

    def __init__(
        self, base: nn.Linear, updates: Mapping[str, tuple[Tensor, Tensor]], *, magnitudes: list[nn.Parameter]
    ) -> None:
        super().__init__(base, updates)
        self.magnitudes = nn.ParameterList(magnitudes)

    def updated(self, outputs: Tensor, inputs: Tensor, ups: list[Tensor], downs: list[Tensor]) -> Tensor:
        """Add every task's update."""
        for task, (magnitude, up, down) in enumerate(zip(self.magnitudes, ups, downs, strict=True)):
            update = F.linear(F.linear(inputs, down), up)
            past = task < len(ups) - 1
            outputs = outputs + magnitude * (update / (down.norm() * up.norm()) if past else update)
        return outputs


class SummedQKV(SlicedQKV):
    """InfLoRA's: the sum of the products of all tasks, formed at every forward pass."""

    def __init__(self, base: nn.Linear, updates: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        super().__init__(base, updates, learning_down=False)

    def updated(self, outputs: Tensor, inputs: Tensor, ups: list[Tensor], downs: list[Tensor]) -> Tensor:
        """Add the sum's product with the inputs."""
        products = torch.stack([up @ down for up, down in zip(ups, downs, strict=True)])
        return outputs + F.linear(inputs, products.sum(dim=0))


def _looped(setup: Setup, kinds: Sequence[str], tasks: int, layer: Callable[..., SlicedQKV]) -> Step:
    network, images = setup.network(), setup.images()
    factors = draw_factors(setup, kinds, tasks)
    for number, block in enumerate(network.blocks):
        updates = {kind: factors[f"blocks.{number}.attn.qkv/{kind}"] for kind in kinds}
        block.attn.qkv = layer(block.attn.qkv, updates)
    head = setup.head(network.num_features)
    learning = [p for p in network.parameters() if p.requires_grad]  # shared magnitudes are among them, once
    return setup.step(lambda inputs: head(network(inputs)), images, [*learning, *head.parameters()])


def _parameters(factors: Sequence[Tensor], *, learns: bool) -> nn.ParameterList:
    last = len(factors) - 1
    return nn.ParameterList(
        [nn.Parameter(f.contiguous().clone(), requires_grad=learns and i == last) for i, f in enumerate(factors)]
    )
