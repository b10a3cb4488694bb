"""One standard LoRA adapter that peft loads on the plain backbone: all directions of all tasks, and the head.

The updates of a layer, magnitudes included, are factorised anew at the smallest rank that gives their sum, so that the
rank is that of what was learnt and not the number of tasks. A fused qkv weight is one layer to peft, and to the
factorisation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from lorastream.backbones.load import BUNDLED
from lorastream.backbones.load import load as load_backbone
from lorastream.errors import BackboneError, MethodError
from lorastream.export.exporter import Logits
from lorastream.export.factorise import smallest_factors, stacked
from lorastream.export.host import Host, filled, host_of, is_of_transformers
from lorastream.export.merged import Merged
from lorastream.export.quiet import quiet
from lorastream.export.timm_host import TimmHost

PACKAGES: tuple[str, ...] = ("peft", "transformers")
WEIGHTS = "adapter_model.safetensors"
BASE = "base.safetensors"
_INSIDE = "base_model.model."  # where peft keeps the network it wraps


def write(merged: Merged, folder: Path) -> list[str]:
    """Write `adapter_config.json` and `adapter_model.safetensors`; see `Exporter.write`."""
    host: Host = host_of(merged, "peft")
    _check(merged)
    network = filled(merged, host, "peft")
    factors = _factors(merged, host)
    ranks = {name: len(down) for name, (_, down) in factors.items()}
    _write_config(ranks, list(host.classifiers(network)), host.source, folder)
    tensors: dict[str, Tensor] = {}
    for name, (up, down) in factors.items():
        tensors[f"{_INSIDE}{name}.lora_A.weight"], tensors[f"{_INSIDE}{name}.lora_B.weight"] = down, up
    for name, layer in host.classifiers(network).items():
        tensors |= {f"{_INSIDE}{name}.{key}": tensor for key, tensor in layer.state_dict().items()}
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    if _needs_base(merged):
        base = load_backbone(merged.learner.model.backbone.identity.name).network.state_dict()
        save_file({name: tensor.contiguous() for name, tensor in base.items()}, folder / BASE)
    return [_about_ranks(merged, [len(down) for _, down in factors.values()])]


def load(merged: Merged, folder: Path) -> Logits:
    """Load it on the plain backbone as peft does."""
    from peft import PeftModel

    host = host_of(merged, "peft")
    with quiet():
        model = PeftModel.from_pretrained(_base(merged, folder), folder).eval()
    return lambda images: host.logits(model, images)


def lines(merged: Merged) -> list[str]:
    """Return the lines that load it."""
    host, n_classes = host_of(merged, "peft"), len(merged.class_names)
    if isinstance(host, TimmHost):
        file = f'"FOLDER/{BASE}"' if _needs_base(merged) else repr(host.weights) if host.weights else None
        overlay = {} if file is None else {"pretrained_cfg_overlay": f'{{"file": {file}, "custom_load": False}}'}
        base = host.call(n_classes, pretrained="True", **overlay)
        package = "timm"
    else:
        kind = "AutoModelForImageClassification"
        base = f'{kind}.from_pretrained("{host.source}", num_labels={n_classes}, ignore_mismatched_sizes=True)'
        package = ""
    return [
        f"import {package}" if package else "from transformers import AutoModelForImageClassification",
        "from peft import PeftModel",
        f"base = {base}",
        'model = PeftModel.from_pretrained(base, "FOLDER").eval()',
    ]


def _base(merged: Merged, folder: Path) -> nn.Module:
    """Return the plain backbone with a new classifier, as the printed lines make it."""
    import timm

    host, n_classes = host_of(merged, "peft"), len(merged.class_names)
    if isinstance(host, TimmHost):
        file = str(folder / BASE) if _needs_base(merged) else host.weights
        overlay: Any = None if file is None else {"file": file, "custom_load": False}
        arguments: dict[str, Any] = {"num_classes": n_classes, **host.arguments}
        return timm.create_model(host.name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    from transformers import AutoModelForImageClassification

    return AutoModelForImageClassification.from_pretrained(
        host.source, num_labels=n_classes, ignore_mismatched_sizes=True
    )


def _factors(merged: Merged, host: Host) -> dict[str, tuple[Tensor, Tensor]]:
    """Return `(up [out, r], down [r, in])` of every layer that learnt something, by the host's name."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for name, layer in merged.learner.model.adapters.layers.items():
        up, down = smallest_factors(*stacked(layer))
        if len(down):
            found[host.prefix + name.removeprefix(host.own_prefix)] = up, down
    return found


def _write_config(ranks: dict[str, int], classifiers: list[str], base: str, folder: Path) -> None:
    from peft import LoraConfig

    largest = max(ranks.values(), default=1)
    others: dict[str, Any] = {name: rank for name, rank in ranks.items() if rank != largest}
    LoraConfig(
        base_model_name_or_path=base,
        r=largest,
        lora_alpha=largest,
        rank_pattern=others,
        alpha_pattern=others,
        target_modules=list(ranks),
        modules_to_save=classifiers,
        lora_dropout=0.0,
        bias="none",
        inference_mode=True,
    ).save_pretrained(str(folder))


def _about_ranks(merged: Merged, ranks: list[int]) -> str:
    adapters = merged.learner.model.adapters
    stacked_ranks = [sum(adapter.total_rank for _, adapter in layer.parts()) for layer in adapters.layers.values()]
    span = f"{min(ranks)}" if min(ranks) == max(ranks) else f"{min(ranks)} to {max(ranks)}"
    tasks = merged.learner.n_tasks
    found = f"rank {span} on {len(ranks)} layer{'s' * (len(ranks) > 1)}"
    if any(len(adapter.folded) for adapter in adapters):
        return found
    return f"{found}; the updates of {tasks} task{'s' * (tasks > 1)} stack to {max(stacked_ranks)}"


def _needs_base(merged: Merged) -> bool:
    identity = merged.learner.model.backbone.identity
    return identity.name in BUNDLED and identity.weights is None


def _check(merged: Merged) -> None:
    """Refuse what is more, or less, than updates beside a backbone that others can load.

    Raises:
        MethodError: the method trained the backbone itself, or attached nothing.
        BackboneError: its weights cannot be loaded by name.
    """
    model, method = merged.learner.model, merged.learner.method_name
    identity = model.backbone.identity
    where, steps = f"export to peft, method {method}", "export to timm or hf, which take the merged weights"
    expected = "low-rank updates beside a frozen backbone"
    merged.linear_head("peft")
    if model.backbone.trained:
        raise MethodError(where, expected=expected, got="a backbone whose own weights were trained", next_step=steps)
    if not model.adapted or all(adapter.empty for adapter in model.adapters):
        raise MethodError(where, expected=expected, got="no update", next_step=steps)
    if not identity.pretrained or (is_of_transformers(model.backbone) and identity.weights):
        raise BackboneError(
            f"export to peft, backbone {identity.name}",
            expected="a backbone that whoever loads the adapter can load by its name",
            got=f"weights of {identity.weights}" if identity.weights else "random weights",
            next_step=steps,
        )
