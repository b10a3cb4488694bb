"""A folder that transformers loads as an image classifier, with its class names and its image processor.

A network of timm becomes `TimmWrapperForImageClassification`; its folder is one of timm's hub folders as well. An
encoder of transformers becomes its own classifier class.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from lorastream.export.exporter import Logits
from lorastream.export.host import filled, host_of, is_of_transformers
from lorastream.export.merged import Merged
from lorastream.export.quiet import quiet
from lorastream.export.to_timm import write_folder
from lorastream.files import write_atomically

PACKAGES: tuple[str, ...] = ("transformers",)


def write(merged: Merged, folder: Path) -> list[str]:
    """Write the folder; see `Exporter.write`."""
    if not is_of_transformers(merged.learner.model.backbone):
        kind = {"architectures": ["TimmWrapperForImageClassification"], "model_type": "timm_wrapper"}
        write_folder(merged, folder, "hf", {**kind, "dtype": "float32"})
        return ["timm loads the folder as well: timm.create_model('local-dir:FOLDER', pretrained=True)"]
    with quiet():
        network: Any = filled(merged, host_of(merged, "hf"), "hf")
        network.config.id2label = dict(enumerate(merged.class_names))
        network.config.label2id = {name: number for number, name in enumerate(merged.class_names)}
        network.save_pretrained(folder)
    processor = json.dumps(image_processor(merged.preprocessing), indent=2)
    write_atomically(folder / "preprocessor_config.json", processor + "\n")
    return []


def load(merged: Merged, folder: Path) -> Logits:
    """Load it as transformers does."""
    from transformers import AutoModelForImageClassification

    del merged
    with quiet():
        network: Any = AutoModelForImageClassification.from_pretrained(folder).eval()

    def logits(images: Tensor) -> Tensor:
        return network(pixel_values=images).logits

    return logits


def lines(merged: Merged) -> list[str]:
    """Return the lines that load it."""
    del merged
    return [
        "from transformers import pipeline",
        'classify = pipeline("image-classification", model="FOLDER")',
        'print(classify("picture.jpg"))',
    ]


def image_processor(known: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of transformers' processor that does what timm's keywords say.

    It is CLIP's, the one that resizes the shorter side and cuts out the centre.
    """
    from timm.data.transforms_factory import create_transform

    made: Any = create_transform(**known)
    resize = made.transforms[0]  # the size that timm itself makes of them
    size = resize.size if isinstance(resize.size, int) else resize.size[0]
    crop = known["input_size"][-1]
    squash = known["crop_mode"] == "squash"
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": crop, "width": crop} if squash else {"shortest_edge": size},
        "resample": {"bilinear": 2, "bicubic": 3}[known["interpolation"]],
        "do_center_crop": not squash,
        "crop_size": {"height": crop, "width": crop},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": known["mean"],
        "image_std": known["std"],
    }
