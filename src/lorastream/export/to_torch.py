"""A `torch.export` program with a dynamic batch, which needs torch alone; any backbone and any head."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from lorastream.export.exporter import Logits
from lorastream.export.merged import Merged

PACKAGES: tuple[str, ...] = ()
PROGRAM = "model.pt2"


def write(merged: Merged, folder: Path) -> list[str]:
    """Write `model.pt2`, with class names, preprocessing and calibration in it; see `Exporter.write`."""
    size = merged.image_size
    with torch.no_grad():
        program = torch.export.export(
            merged.classifier,
            (torch.zeros(2, 3, size, size),),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
    inside = {name: json.dumps(content, ensure_ascii=False) for name, content in merged.facts.items()}
    torch.export.save(program, folder / PROGRAM, extra_files=inside)
    return [f"made with torch {torch.__version__.partition('+')[0]}; newer releases load it, older ones may not"]


def load(merged: Merged, folder: Path) -> Logits:
    """Load it with torch."""
    del merged
    return torch.export.load(folder / PROGRAM).module()


def lines(merged: Merged) -> list[str]:
    """Return the lines that load it."""
    del merged
    return [
        "import json, pathlib, timm, torch; from PIL import Image",
        f'model = torch.export.load("FOLDER/{PROGRAM}").module()',
        'prepare = timm.data.create_transform(**json.loads(pathlib.Path("FOLDER/preprocessing.json").read_text()))',
        'logits = model(prepare(Image.open("picture.jpg").convert("RGB"))[None])',
    ]
