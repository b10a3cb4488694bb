"""Merged weights for timm: `timm.create_model(tag, num_classes=n, checkpoint_path=...)` loads them strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save_file
from torch import nn

from lorastream.export.exporter import Logits
from lorastream.export.host import filled, host_of, unfit
from lorastream.export.merged import Merged
from lorastream.export.timm_host import TimmHost
from lorastream.files import write_atomically

PACKAGES: tuple[str, ...] = ()
WEIGHTS = "model.safetensors"


def write(merged: Merged, folder: Path) -> list[str]:
    """Write `model.safetensors` and timm's `config.json`; see `Exporter.write`."""
    write_folder(merged, folder, "timm", {})
    return []


def load(merged: Merged, folder: Path) -> Logits:
    """Load it as timm does."""
    host = _host(merged, "timm")
    weights = str(folder / WEIGHTS)
    network = timm.create_model(
        host.name, num_classes=len(merged.class_names), checkpoint_path=weights, **host.arguments
    ).eval()
    return lambda images: host.logits(network, images)


def lines(merged: Merged) -> list[str]:
    """Return the lines that load it."""
    call = _host(merged, "timm").call(len(merged.class_names), checkpoint_path=f'"FOLDER/{WEIGHTS}"')
    return [
        "import json, pathlib, timm",
        "from PIL import Image",
        f"model = {call}.eval()",
        'prepare = timm.data.create_transform(**json.loads(pathlib.Path("FOLDER/preprocessing.json").read_text()))',
        'logits = model(prepare(Image.open("picture.jpg").convert("RGB"))[None])',
    ]


def write_folder(merged: Merged, folder: Path, target: str, more: dict[str, Any]) -> None:
    """Write weights and configuration as timm's hub folders have them; `more` is added to the configuration."""
    host = _host(merged, target)
    network = filled(merged, host, target)
    state = {name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    config = {
        "architecture": host.architecture,
        "num_classes": len(merged.class_names),
        "label_names": merged.class_names,
        "model_args": host.arguments,
        "pretrained_cfg": {**_kept(network), **merged.preprocessing, "num_classes": len(merged.class_names)},
        **more,
    }
    write_atomically(folder / "config.json", json.dumps(config, ensure_ascii=False, indent=2) + "\n")


def _host(merged: Merged, target: str) -> TimmHost:
    host = host_of(merged, target)
    if not isinstance(host, TimmHost):
        raise unfit(merged, target, expected="a network of timm", got="one of transformers; export to hf keeps it")
    return host


def _kept(network: nn.Module) -> dict[str, Any]:
    """Return what timm's configuration says of the architecture and not of its old weights."""
    config: Any = getattr(network, "pretrained_cfg", {})
    names = ("first_conv", "classifier", "fixed_input_size", "license")
    return {name: config[name] for name in names if config.get(name) is not None}
