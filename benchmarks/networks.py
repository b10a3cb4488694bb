"""The networks whose training step is measured: the floor, ours, and the released codes' way, with the same numbers.

All have random weights. A step is a forward and a backward pass without the optimiser's part, which is the same small
one for every way; what an optimiser's step does to a composed weight, making it stale, is done before each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from lorastream.adapters import Adapter
from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.data.task import Task
from lorastream.data.transforms import InputSpec
from lorastream.methods.sd_lora import SDLoRA
from lorastream.model import IncrementalClassifier
from measuring import Device, Precision, precision_context

RANK, CLASSES, WHOLE_DEPTH = 10, 10, 12
PAPERS_BATCH = 128
"""Of SD-LoRA and InfLoRA alike (spec sections 1 and 4)."""
TITLES = {"vit_ti_16": "ViT-Ti/16", "vit_b_16": "ViT-B/16"}
WIDTHS = {"vit_ti_16": 192, "vit_b_16": 768}
SD_LORA, INF_LORA = ("query", "value"), ("key", "value")
Factors = Mapping[str, tuple[Tensor, Tensor]]
"""For each adapter's name `up [out, R]` and `down [R, in]` of all tasks side by side."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A vision transformer and a batch of images.

    Attributes:
        name: `vit_ti_16` or `vit_b_16`.
        timm_name: the architecture in timm.
        depth: how many of its 12 equal blocks are built.
        image_size: in pixels.
        batch: images a step.
    """

    name: str
    timm_name: str
    depth: int
    image_size: int
    batch: int

    @property
    def whole(self) -> bool:
        """Whether all blocks are there.

        A shortened network stands for the whole one: its blocks are equal and each adapted alike, so that a ratio of
        step times is the same for any number of them, but for the first block, below which no gradient has to flow, the
        last, of which ours computes the class token alone, and the patch embedding. Where it is shortened, the gradient
        therefore flows to the images in every way and the last block is a whole one; and the embedding, 8 % of one
        ViT-B block, is the only part that the ratio is diluted by.
        """
        return self.depth == WHOLE_DEPTH

    @property
    def title(self) -> str:
        """For a heading, without the batch."""
        blocks = "" if self.whole else f", {self.depth} of {WHOLE_DEPTH} blocks"
        return f"{TITLES[self.name]}{blocks}, {self.image_size} px"

    @property
    def described(self) -> str:
        """For a heading."""
        return f"{self.title}, batch {self.batch}"


def shapes(device: Device, *, quick: bool, batch: int | None = None, on_processor: int = PAPERS_BATCH) -> list[Shape]:
    """Return the shapes that are measured on a device; of ViT-B a processor takes one block.

    Args:
        device: `cpu` or `cuda`.
        quick: tiny ones.
        batch: images at once; None: the papers', and on a processor as many as `on_processor` says.
        on_processor: where what is measured says the same of a smaller batch.
    """
    if quick:
        sizes = {"vit_ti_16": (2, 64, 4), "vit_b_16": (1, 64, 4)}
    elif device == "cuda":
        sizes = {"vit_ti_16": (12, 224, PAPERS_BATCH), "vit_b_16": (12, 224, PAPERS_BATCH)}
    else:
        sizes = {"vit_ti_16": (12, 224, on_processor), "vit_b_16": (1, 224, on_processor)}
    names = {"vit_ti_16": "vit_tiny_patch16_224", "vit_b_16": "vit_base_patch16_224"}
    return [
        Shape(name=name, timm_name=names[name], depth=depth, image_size=pixels, batch=batch or usual)
        for name, (depth, pixels, usual) in sizes.items()
    ]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One training step without the optimiser's part.

    Attributes:
        loss: the forward pass.
        learning: what gets gradients.
        device: where it runs.
        precision: of the forward pass.
    """

    loss: Callable[[], Tensor]
    learning: Sequence[Tensor]
    device: Device
    precision: Precision

    def forward(self) -> Tensor:
        """Take the forward pass; return the loss."""
        with precision_context(self.device, self.precision):
            return self.loss()

    def take(self) -> None:
        """Take the whole step."""
        self.forward().backward()

    @torch.no_grad()
    def refresh(self) -> None:
        """Do what lies between two steps: gradients go, and everything that learns counts as changed."""
        for tensor in self.learning:
            tensor.grad = None
            tensor.add_(0.0)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all ways have in common: shape, images, labels, device, precision, and the type of the weights."""

    shape: Shape
    device: Device
    precision: Precision
    kind: torch.dtype = torch.float32

    def network(self) -> nn.Module:
        """Return the frozen encoder without a classifier, with the same random weights every time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            shape = self.shape
            made = timm.create_model(
                shape.timm_name, pretrained=False, num_classes=0, depth=shape.depth, img_size=shape.image_size
            )
        return made.eval().requires_grad_(requires_grad=False).to(self.device, self.kind)

    def images(self) -> Tensor:
        """Return the batch; it takes a gradient where the network is shortened."""
        shape = (self.shape.batch, 3, self.shape.image_size, self.shape.image_size)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(self.device, self.kind)
        return drawn.requires_grad_(requires_grad=not self.shape.whole)

    def step(self, logits: Callable[[Tensor], Tensor], images: Tensor, learning: Sequence[Tensor]) -> Step:
        """Make a step of a way to compute the logits of the newest task's classes, `[n, CLASSES]`."""
        labels = torch.arange(len(images), device=self.device) % CLASSES
        exact = torch.promote_types(self.kind, torch.float32)
        return Step(
            loss=lambda: F.cross_entropy(logits(images).to(exact), labels),
            learning=[*learning, *([images] if images.requires_grad else [])],
            device=self.device,
            precision=self.precision,
        )

    def head(self, width: int) -> nn.Linear:
        """Return the head of one task, the same every time."""
        with torch.random.fork_rng():
            torch.manual_seed(2)
            return nn.Linear(width, CLASSES).to(self.device, self.kind)


def floor(setup: Setup) -> Step:
    """Make the step that no method can do without.

    The definition: the frozen plain backbone, the gradient flowing through it to its input (the images), and a new head
    of the task's classes, which alone learns. No adapter, no optimiser's step, and attention as torch has it.
    """
    frozen, images = setup.network(), setup.images().requires_grad_()
    head = setup.head(frozen.num_features)
    return setup.step(lambda inputs: head(frozen(inputs)), images, list(head.parameters()))


def draw_factors(setup: Setup, kinds: Sequence[str], tasks: int) -> Factors:
    """Draw the factors of all tasks for every adapter, the same every time."""
    width = WIDTHS[setup.shape.name]
    generator = torch.Generator().manual_seed(3)

    def drawn(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(setup.device, setup.kind)

    names = [f"blocks.{block}.attn.qkv/{kind}" for block in range(setup.shape.depth) for kind in kinds]
    return {name: (0.01 * drawn(width, RANK * tasks), 0.05 * drawn(RANK * tasks, width)) for name in names}


def sd_lora(setup: Setup, tasks: int) -> tuple[IncrementalClassifier, Step]:
    """Make our step of SD-LoRA at task `tasks`, after `tasks - 1` others; the model, and the step."""
    factors, method = draw_factors(setup, SD_LORA, tasks), SDLoRA(rank=RANK)
    model = classifier(setup, tasks)
    for name, adapter in model.adapt(method.targets).items():
        _load_past(adapter, *factors[name])
    method.before_task(model, cast("Task", _Index(tasks - 1)))
    _set_newest(model, factors)
    magnitudes = [] if method.magnitudes_ is None else [method.magnitudes_]
    return model, our_step(setup, model, magnitudes)


def inf_lora(setup: Setup, tasks: int) -> tuple[IncrementalClassifier, Step]:
    """Make our step of InfLoRA at task `tasks`: past updates folded, `down` given, without the pass that designs it."""
    factors, model = draw_factors(setup, INF_LORA, tasks), classifier(setup, tasks)
    adapters = model.adapt(INF_LORA)
    if tasks > 1:
        for name, adapter in adapters.items():
            _load_past(adapter, *factors[name])
        adapters.fold()
    downs = {name: down[-RANK:] for name, (_, down) in factors.items()}
    adapters.grow(RANK, generator=torch.Generator(), downs=downs)
    model.head.learn(newest_only=True)
    _set_newest(model, factors)
    return model, our_step(setup, model, [])


def classifier(setup: Setup, tasks: int) -> IncrementalClassifier:
    """Make a classifier that knows the classes of so many tasks and has no adapters yet."""
    network, size = setup.network(), setup.shape.image_size
    backbone = Backbone(
        network,
        spec=InputSpec(image_size=size, mean=(0.5,) * 3, std=(0.5,) * 3),
        width=network.num_features,
        projections=find_projections(network),
        name=setup.shape.name,
        pretrained=False,
    )
    if not setup.shape.whole:
        network.blocks[-1].__class__ = Block
    model = IncrementalClassifier(backbone).to(setup.device)
    for task in range(tasks):
        model.grow([f"{task}.{i}" for i in range(CLASSES)])
    model.head.to(setup.kind)
    newest = setup.head(backbone.width)
    with torch.no_grad():
        model.head.weights[-1].copy_(newest.weight)
        model.head.biases[-1].copy_(newest.bias)
    return model


def our_step(setup: Setup, model: IncrementalClassifier, more: Sequence[Tensor]) -> Step:
    """Make a step of a model whose newest task's classes are the last ones."""
    newest = model.n_classes - CLASSES
    return setup.step(lambda inputs: model(inputs, since=newest), setup.images(), [*model.learning(), *more])


@dataclass(frozen=True)
class _Index:
    """All that `sd_lora` asks of a task before it begins."""

    index: int
    class_names: tuple[str, ...] = ("one", "another")


def _load_past(adapter: Adapter, up: Tensor, down: Tensor) -> None:
    """Give an adapter all updates but the newest, as past ones."""
    past = len(down) - RANK
    adapter.load(up[:, :past], down[:past], down.new_ones(past), [RANK] * (past // RANK))


@torch.no_grad()
def _set_newest(model: IncrementalClassifier, factors: Factors) -> None:
    """Give the live updates their numbers."""
    for name, adapter in model.adapters.items():
        up, down = factors[name]
        if adapter.up is not None and adapter.down is not None:
            adapter.up.copy_(up[:, -RANK:])
            adapter.down.copy_(down[-RANK:])
