"""An ONNX graph with a dynamic batch, checked in onnxruntime; any backbone and any head."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorastream.export.exporter import Logits
from lorastream.export.merged import Merged

PACKAGES: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")
GRAPH = "model.onnx"
_ONE_FILE = 1_800_000_000  # bytes; a protocol buffer ends at 2 GiB, and weights go beside it then


def write(merged: Merged, folder: Path) -> list[str]:
    """Write `model.onnx`, with class names, preprocessing and calibration in its metadata; see `Exporter.write`."""
    classifier = merged.classifier
    size = merged.image_size
    with _nothing_said(), torch.no_grad():
        program: Any = torch.onnx.export(
            classifier,
            (torch.zeros(2, 3, size, size),),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    program.model.metadata_props.update(
        {name.removesuffix(".json"): json.dumps(content) for name, content in merged.facts.items()}
    )
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in classifier.state_dict().values())
    program.save(str(folder / GRAPH), external_data=n_bytes > _ONE_FILE)
    return ["input images [batch, 3, side, side] float32, output logits [batch, classes]; any batch"]


def load(merged: Merged, folder: Path) -> Logits:
    """Load it in onnxruntime."""
    import onnxruntime

    del merged
    session: Any = onnxruntime.InferenceSession(str(folder / GRAPH), providers=["CPUExecutionProvider"])

    def logits(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.cpu().numpy()})[0])

    return logits


def lines(merged: Merged) -> list[str]:
    """Return the lines that load it."""
    del merged
    return [
        "import json, onnxruntime, pathlib, timm; from PIL import Image",
        f'session = onnxruntime.InferenceSession("FOLDER/{GRAPH}")',
        'prepare = timm.data.create_transform(**json.loads(pathlib.Path("FOLDER/preprocessing.json").read_text()))',
        'images = prepare(Image.open("picture.jpg").convert("RGB"))[None].numpy()',
        'logits = session.run(None, {"images": images})[0]',
    ]


@contextlib.contextmanager
def _nothing_said() -> Generator[None]:
    """Keep the exporter's remarks on its own insides from the screen; what fails still raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
