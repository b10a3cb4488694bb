"""What a prediction costs, what learns, and what is kept of past images.

SD-LoRA (ICLR 2025), Tables 1 and 5: one pass of the plain backbone (35.12 GFLOPs for ViT-B/16 at 224 px, a
multiplication and an addition each counting as one), 70 for methods that ask the backbone twice, and no stored
features. Operations are counted on tensors without content; nothing is computed. The backbones here leave out what the
last block computes for tokens that nobody reads (`backbones.class_token`); both counts are given, and the published one
is with all tokens. Of prompts both passes are counted, but not what they add to the second one: up to a tenth of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from timm.models.vision_transformer import Block  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lorastream.analyses.drawing import COLOURS, svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.backbones.class_token import ClassTokenBlock
from lorastream.reports.units import count as counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "efficiency"
PUBLISHED: Mapping[str, tuple[float, float, float]] = {
    "sd_lora": (35.12, 0.37, 0.0),
    "sd_lora_rr": (35.12, 0.23, 0.0),
    "inf_lora": (35.12, 0.37, 0.10),
}
"""By method: GFLOPs of a prediction, learnable parameters and stored features in millions (SD-LoRA, Table 5)."""
TWO_PASSES = (70.14, 70.61)
"""GFLOPs that Table 5 has for methods of two passes: L2P to CODA-Prompt."""
REFERENCE = ("vit_base_patch16_224", 224)
_OF_IMAGES = ("protected_", "free_")


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Count the operations of a prediction, and what is stored."""
    del options
    learner = run.after(run.n_tasks)
    model, size = learner.model, learner.model.backbone.spec.image_size
    passes = learner.method.traits.inference_passes
    network = run.learner().model.backbone.network
    plain = floating_operations(network, size)
    with model.merged():  # what is never merged composes its weights once: each pass is one of the plain network
        merged = plain if model.pretrained_beside else floating_operations(model.backbone.network, size)
    features, other = stored_numbers(run.parts)
    trainable = run.record.trainable_parameters_per_task
    figures: dict[str, Any] = {
        "backbone": run.recipe.backbone.name,
        "image_size": size,
        "passes": passes,
        "operations": passes * merged,
        "operations_of_plain_backbone": plain,
        "operations_with_all_tokens": passes * floating_operations(with_all_tokens(network), size),
        "operations_of_two_passes": 2 * plain,
        "operations_of_reference": reference_operations(),
        "trainable_parameters_per_task": list(trainable),
        "stored_bytes_per_task": list(run.record.stored_bytes_per_task),
        "stored_features": features,
        "other_method_state": other,
        "published": PUBLISHED.get(run.record.method),
    }
    holds = passes == 1 and merged == plain and features == 0
    return Analysis(
        what=WHAT,
        title="Cost of a prediction, and what is stored",
        claim="A prediction costs one pass of the plain backbone, whatever the number of tasks, and no features of "
        "past images are stored (SD-LoRA, Tables 1 and 5).",
        paragraph=_paragraph(figures, run.record.method, holds),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, figures), width=7.6, height=2.6),
        alt=f"Operations of a prediction, {_giga(figures['operations'])}, beside the plain backbone's, "
        f"{_giga(plain)}, and two passes of it, {_giga(2 * plain)}; stored bytes after each task.",
    )


def floating_operations(network: nn.Module, image_size: int) -> int:
    """Return the floating-point operations of one image, a multiplication and an addition each counting as one.

    Matrix products, convolutions and attention are counted; norms and activations, under a hundredth, are not.

    Args:
        network: takes images `[n, 3, s, s]`; it is not changed.
        image_size: side of the image in pixels.
    """
    hollow = copy.deepcopy(network).to("meta")
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        hollow(torch.empty(1, 3, image_size, image_size, device="meta"))
    return counter.get_total_flops()


def with_all_tokens(network: nn.Module) -> nn.Module:
    """Return a copy without content whose last block computes every token, as the published networks do."""
    hollow = copy.deepcopy(network).to("meta")
    for module in hollow.modules():
        if type(module) is ClassTokenBlock:
            module.__class__ = Block  # pyright: ignore[reportAttributeAccessIssue] (the parts are the same)
    return hollow


def reference_operations() -> int:
    """Return the operations of ViT-B/16 at 224 px, counted in the same way."""
    import timm

    with torch.device("meta"):
        network = timm.create_model(REFERENCE[0], pretrained=False, num_classes=0)
    return floating_operations(network, REFERENCE[1])


def stored_numbers(parts: Mapping[str, Mapping[str, Tensor]]) -> tuple[int, int]:
    """Return how many numbers a model keeps that stand for past images, and what else the method keeps.

    The former are the classes' statistics and the bases of past inputs.
    """
    own = parts.get("method", {})
    of_images = [tensor for name, tensor in own.items() if name.startswith(_OF_IMAGES)]
    features = sum(tensor.numel() for tensor in [*parts.get("statistics", {}).values(), *of_images])
    return features, sum(tensor.numel() for tensor in own.values()) - sum(tensor.numel() for tensor in of_images)


def _giga(operations: float) -> str:
    return f"{operations / 1e9:.2f} GFLOPs"


def _paragraph(figures: dict[str, Any], method: str, holds: bool) -> str:
    one = "one pass" if figures["passes"] == 1 else f"{figures['passes']} passes"
    kept = counted(figures["stored_features"]) if figures["stored_features"] else "no"
    learns = [value for value in figures["trainable_parameters_per_task"] if value is not None]
    trained = f" {counted(learns[-1])} parameters learn at a task, the head's among them." if learns else ""
    published = figures["published"]
    table = (
        f" Table 5 has {published[0]} GFLOPs, {published[1]} M learnable parameters and {published[2]} M stored "
        f"features for {method}, on ViT-B/16."
        if published
        else ""
    )
    return (
        f"{verdict(holds)}: a prediction is {one} of the backbone and takes {_giga(figures['operations'])} with the "
        f"updates in the weights, the plain backbone {_giga(figures['operations_of_plain_backbone'])} "
        f"({_giga(figures['operations_with_all_tokens'])} if the last block computed every token); two passes would "
        f"take {_giga(figures['operations_of_two_passes'])}. {kept[0].upper() + kept[1:]} numbers that stand for past "
        f"images are stored.{trained} Counted in the same way, ViT-B/16 at 224 px takes "
        f"{_giga(figures['operations_of_reference'])}, two passes {_giga(2 * figures['operations_of_reference'])}; "
        f"published are 35.12 and {TWO_PASSES[0]} to {TWO_PASSES[1]}.{table}"
    )


def _draw(figure: Figure, figures: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2)
    bars = {
        "this run, merged": figures["operations"],
        "plain backbone": figures["operations_of_plain_backbone"],
        "two passes": figures["operations_of_two_passes"],
    }
    drawn = left.barh(list(bars), [value / 1e9 for value in bars.values()], color=[COLOURS[0], "0.65", "0.65"])
    left.bar_label(drawn, fmt="%.2f", padding=3)
    left.invert_yaxis()
    left.margins(x=0.18)
    left.set_xlabel("GFLOPs of a prediction")
    stored = [(t + 1, value / 1e6) for t, value in enumerate(figures["stored_bytes_per_task"]) if value is not None]
    if stored:
        right.plot(*zip(*stored, strict=True), color=COLOURS[0], marker="o", markersize=4)
    right.set_ylim(bottom=0)
    right.set_xticks([t for t, _ in stored])
    right.set_xlabel("tasks learnt")
    right.set_ylabel("stored, MB")
