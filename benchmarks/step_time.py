"""Time and saved memory of a training step as tasks add up: ours, the floor, and the released code's way.

    python benchmarks/step_time.py --out benchmarks/results/step_time.json

Three ways to take one step of SD-LoRA at task T (rank 10, query and value, ViT-Ti/16 shapes, random weights):

- `floor`: the frozen backbone with the gradient flowing through it to its input, and a new head. What no method that
  adapts the first block can do without.
- `lorastream`: the method `sd_lora` after T - 1 tasks.
- `loop`: the forward pass of the released code (WuYichen-97/SD-Lora-CL at 8bacded, `backbone/lora.py`),
  written anew from its formula: every past task's two products on the activations, one after another; its disk reads
  and throw-away layers left out.

The ways take turns within one process, so that a busy neighbour slows all alike; the figures are medians and ratios.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import timm
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.data.transforms import InputSpec
from lorastream.files import write_atomically
from lorastream.methods.sd_lora import SDLoRA
from lorastream.model import IncrementalClassifier
from lorastream.runs.environment import processor, versions

RANK, CLASSES, INIT = 10, 10, 0.8


class LoopedQKV(nn.Module):
    """A fused qkv projection that adds every task's update on the activations, as the released code does."""

    def __init__(self, base: nn.Linear, tasks: int, magnitudes: nn.ParameterList) -> None:
        super().__init__()
        self.base, self.magnitudes = base, magnitudes
        width = base.in_features
        self.downs = nn.ParameterList([nn.Parameter(torch.randn(RANK, width) * 0.05) for _ in range(2 * tasks)])
        self.ups = nn.ParameterList([nn.Parameter(torch.randn(width, RANK) * 0.01) for _ in range(2 * tasks)])
        for past in [*self.downs[:-2], *self.ups[:-2]]:
            past.requires_grad_(requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `[..., 3 * width]`."""
        query, key, value = self.base(inputs).chunk(3, dim=-1)
        for task, magnitude in enumerate(self.magnitudes):
            query = query + magnitude * self._update(inputs, 2 * task)
            value = value + magnitude * self._update(inputs, 2 * task + 1)
        return torch.cat([query, key, value], dim=-1)

    def _update(self, inputs: Tensor, index: int) -> Tensor:
        down, up = self.downs[index], self.ups[index]
        update = F.linear(F.linear(inputs, down), up)
        return update if index >= len(self.downs) - 2 else update / (down.norm() * up.norm())


def network(image_size: int) -> nn.Module:
    """Return ViT-Ti/16 shapes with random weights, the same every time."""
    torch.manual_seed(0)
    return timm.create_model("deit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=image_size).eval()


def floor(image_size: int, images: Tensor) -> Callable[[], Tensor]:
    """Make the step that no method can do without."""
    frozen = network(image_size).requires_grad_(requires_grad=False)
    head = nn.Linear(192, CLASSES)
    inputs = images.clone().requires_grad_(requires_grad=True)
    return lambda: head(frozen(inputs)).logsumexp(dim=1).mean()


def looped(image_size: int, images: Tensor, tasks: int) -> Callable[[], Tensor]:
    """Make the released code's step at task `tasks`."""
    model = network(image_size).requires_grad_(requires_grad=False)
    magnitudes = nn.ParameterList([nn.Parameter(torch.tensor(INIT)) for _ in range(tasks)])
    for block in model.blocks:
        block.attn.qkv = LoopedQKV(block.attn.qkv, tasks, magnitudes)
    head = nn.Linear(192, CLASSES)
    return lambda: head(model(images)).logsumexp(dim=1).mean()


def ours(image_size: int, images: Tensor, tasks: int) -> Callable[[], Tensor]:
    """Make our step at task `tasks`; every step composes anew, as after an optimiser's."""
    plain = network(image_size)
    spec = InputSpec(image_size=image_size, mean=(0.5,) * 3, std=(0.5,) * 3)
    projections = find_projections(plain)
    backbone = Backbone(plain, spec=spec, width=192, projections=projections, name="vit_ti", pretrained=False)
    model = IncrementalClassifier(backbone)
    method = SDLoRA(rank=RANK)
    for task in range(tasks):
        model.grow([f"{task}.{i}" for i in range(CLASSES)])
        method.before_task(model, _Index(task))
        if task < tasks - 1:
            for adapter in model.adapters:
                torch.nn.init.normal_(adapter.up, std=0.01)
            method.after_task(model, _Index(task))
    newest = slice(-CLASSES, None)

    def step() -> Tensor:
        with torch.no_grad():
            for parameter in model.adapters.parameters():
                parameter.add_(0.0)  # what an optimiser's step does to the version, and no more
        return model(images)[:, newest].logsumexp(dim=1).mean()

    return step


class _Index:
    """All that `sd_lora` asks of a task."""

    def __init__(self, index: int) -> None:
        self.index = index


def saved_bytes(step: Callable[[], Tensor]) -> int:
    """Return the bytes of distinct storage that a step's forward pass keeps for the backward one, leaves left out."""
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.dim() <= 2):  # noqa: PLR2004 (weights and factors are held anyway)
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step()
    loss.backward()
    return sum(saved.values())


def measure(steps: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, dict[str, float]]:
    """Let the steps take turns; return each one's median milliseconds and saved bytes."""
    found = {name: {"saved_bytes": saved_bytes(step)} for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            begun = time.perf_counter()
            step().backward()
            times[name].append(1000 * (time.perf_counter() - begun))
    return {name: {**found[name], "milliseconds": statistics.median(times[name])} for name in steps}


def main(
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    tasks: Annotated[str, typer.Option(help="Numbers of tasks.")] = "1,10,50,100",
    image_size: int = 224,
    batch: int = 16,
    rounds: int = 7,
    longest_loop: Annotated[int, typer.Option(help="The loop is left out beyond so many tasks.")] = 50,
) -> None:
    """Measure and write."""
    images = torch.randn(batch, 3, image_size, image_size, generator=torch.Generator().manual_seed(1))
    rows = []
    for number in [int(text) for text in tasks.split(",")]:
        steps = {"floor": floor(image_size, images), "lorastream": ours(image_size, images, number)}
        if number <= longest_loop:
            steps["loop"] = looped(image_size, images, number)
        row = {"tasks": number, **measure(steps, rounds)}
        row["lorastream_over_floor"] = row["lorastream"]["milliseconds"] / row["floor"]["milliseconds"]
        if "loop" in row:
            row["loop_over_lorastream"] = row["loop"]["milliseconds"] / row["lorastream"]["milliseconds"]
        rows.append(row)
        print(json.dumps(row))
    facts = {
        "command": f"python benchmarks/step_time.py --tasks {tasks} --image-size {image_size} --batch {batch} "
        f"--rounds {rounds} --longest-loop {longest_loop}",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "versions": versions(),
    }
    write_atomically(out, json.dumps({**facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
