"""Attention's backward pass on a processor: torch's fused one against whole products (docs/decisions/0024).

    python benchmarks/attention.py            # a minute on two cores

Measured are the forward and backward pass of one block's attention in every precision, its gradients' errors against
float64, and a whole training step of SD-LoRA at task 10 with and without. Ways to be compared take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import cast
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

import networks
from lorastream.backbones.attention import AttentionByProducts
from measuring import (
    KINDS,
    Json,
    Out,
    Place,
    Precision,
    Quick,
    Timed,
    figure,
    precisions,
    print_table,
    ratio,
    start,
    take_turns,
    times_row,
)
from networks import Setup, Shape

FUSED, PRODUCTS = "fused", "by products"
HEAD_WIDTH, TASKS = 64, 10
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return attention's outputs, its gradients by products in every precision."""
    return cast("Tensor", AttentionByProducts.apply(query, key, value, HEAD_WIDTH**-0.5))


ATTEND: Mapping[str, Attend] = {FUSED: F.scaled_dot_product_attention, PRODUCTS: by_products}


def block_of(shape: Shape, kind: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Draw query, key and value `[n, heads, tokens, width]` as views of one projection, and the output's gradient."""
    heads, tokens = networks.WIDTHS[shape.name] // HEAD_WIDTH, (shape.image_size // 16) ** 2 + 1
    size = (shape.batch, tokens, heads, HEAD_WIDTH)
    drawn = torch.randn(4, *size, generator=torch.Generator().manual_seed(4)).to(kind).transpose(2, 3)
    return list(drawn[:3].detach().requires_grad_().unbind(0)), drawn[3]


def gradients(attend: Attend, given: Sequence[Tensor], towards: Tensor) -> tuple[Tensor, ...]:
    """Take attention's forward and backward pass."""
    return torch.autograd.grad(attend(*given), given, towards)


def one_block(shape: Shape, precision: Precision, *, seconds: float) -> tuple[list[Json], list[Json]]:
    """Compare the two ways for one block's attention: time, and error of the gradients against float64."""
    given, towards = block_of(shape, KINDS[precision])
    ways = {name: Timed(partial(gradients, attend, given, towards)) for name, attend in ATTEND.items()}
    times = take_turns(ways, device="cpu", seconds=seconds, least=3)
    few = [t.detach()[:2].requires_grad_() for t in given]
    exact = gradients(ATTEND[FUSED], [t.detach().double().requires_grad_() for t in few], towards[:2].double())
    where = {"shape": shape.name, "precision": precision}
    rows: list[Json] = []
    for name, attend in ATTEND.items():
        found = gradients(attend, few, towards[:2])
        errors = [((f.double() - e).norm() / e.norm()).item() for f, e in zip(found, exact, strict=True)]
        rows.append({**where, "what": "one block", "way": name, **times_row(times[name]), "error": max(errors)})
    return rows, [figure("attention by products over fused", ratio(times, PRODUCTS, FUSED), **where)]


def whole_step(shape: Shape, precision: Precision, *, seconds: float) -> tuple[list[Json], list[Json]]:
    """Compare a training step of SD-LoRA as it is with one whose attention is torch's own."""
    step = networks.sd_lora(Setup(shape=shape, device="cpu", precision=precision), TASKS)[1]

    def with_torchs() -> None:
        with patch("lorastream.backbones.backbone.faster_attention", return_value=nullcontext()):
            step.take()

    ways = {FUSED: Timed(with_torchs, step.refresh), PRODUCTS: Timed(step.take, step.refresh)}
    times = take_turns(ways, device="cpu", seconds=seconds, least=3)
    where = {"shape": shape.name, "precision": precision}
    rows = [{**where, "what": f"step at T = {TASKS}", "way": name, **times_row(times[name])} for name in ways]
    return rows, [figure("step by products over fused", ratio(times, PRODUCTS, FUSED), **where)]


def main(quick: Quick = False, out: Out = None) -> None:
    """Measure, print and write."""
    place = Place(name="attention", quick=quick, out=out)
    kinds, left_out = precisions("cpu")
    seconds = 0.5 if quick else 20.0
    rows: list[Json] = []
    figures: list[Json] = []
    for shape in networks.shapes("cpu", quick=quick, on_processor=32):
        for precision in kinds:
            found = [one_block(shape, precision, seconds=seconds / 2)]
            if precision == "bf16":  # in float32 a step has torch's own
                found.append(whole_step(shape, precision, seconds=seconds))
            rows += [row for new, _ in found for row in new]
            figures += [one for _, new in found for one in new]
    cells = [
        (
            row["shape"],
            row["precision"],
            row["what"],
            row["way"],
            f"{row['milliseconds']:,.1f}",
            f"{row['error']:.1e}" if "error" in row else "",
        )
        for row in rows
    ]
    print_table("Attention, forward and backward", ("shape", "", "", "way", "ms", "error"), cells, words=4)
    place.write(figures, precisions=kinds, left_out=left_out, rows=rows)


if __name__ == "__main__":
    start(main)
