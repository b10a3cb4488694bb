"""Two processes that share every batch learn what one process learns, and fail together where one must refuse.

The batches are cut so that parts are uneven and one is empty; micro-batches and clipping are on.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lorastream.training.checkpoint import read_model

SCRIPT = '''
"""Run a recipe on a small network of plain torch, then once more into the same folder, which is refused."""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from lorastream.backbones.backbone import Backbone
from lorastream.backbones.projections import find_projections
from lorastream.data.sources import load
from lorastream.data.transforms import InputSpec
from lorastream.errors import CheckpointError
from lorastream.experiment import run
from lorastream.recipes import load as recipes


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv, self.proj, self.norm = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, tokens):
        query, key, value = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        return tokens + self.proj(nn.functional.scaled_dot_product_attention(query, key, value))


class Network(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.blocks = nn.Sequential(Block(width), Block(width))

    def forward(self, images):
        return self.blocks(self.patches(images).flatten(2).mT).mean(dim=1)


def main(folder):
    torch.manual_seed(0)
    network = Network()
    spec = InputSpec(image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3, resize_ratio=1.0)
    places = find_projections(network)
    backbone = Backbone(network, spec=spec, width=16, projections=places, name="plain", pretrained=False)
    changes = ["stream.tasks=2", "stream.order=natural", "method.rank=2", "training.batch_size=7", "training.epochs=2"]
    changes += ["training.lr=0.05", "training.accumulation=2", "training.clip_norm=0.5"]
    recipe = recipes.load("digits", changes, method="sd_lora")
    dataset = load("synthetic", n_classes=4, images_per_class=11, test_images_per_class=9, size=16)
    record, _ = run(recipe, folder, dataset=dataset, backbone=backbone, cache=folder.parent / "cache", thumbnails=True)
    again = Backbone(Network(), spec=spec, width=16, projections=places, name="plain", pretrained=False)
    try:
        run(recipe, folder, dataset=dataset, backbone=again, cache=folder.parent / "cache")
    except CheckpointError as error:
        refused = str(error)
    return {"matrix": record.accuracy_matrix, "processes": record.device.processes, "refused": refused,
            "thumbnails": [one.model_dump() for one in record.thumbnails],
            "losses": [epoch.loss for epoch in record.epochs], "accuracies": [e.accuracy for e in record.epochs]}


if __name__ == "__main__":
    from lorastream.training.device import join_processes, leave_processes

    told = main(Path(sys.argv[1]))
    rank = join_processes().process_index
    leave_processes()
    threads = [place.read_text().strip() for place in Path("/proc/self/task").glob("*/comm")]
    told["left"] = [name for name in threads if "gloo" in name]
    Path(f"{sys.argv[1]}-{rank}.json").write_text(json.dumps(told))
'''


@pytest.mark.timeout(280)
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")
    alone: dict[str, Any] = runpy.run_path(str(script))["main"](tmp_path / "alone")
    _launch(script, tmp_path / "together", processes=2)
    together = [json.loads((tmp_path / f"together-{place}.json").read_text("utf-8")) for place in (0, 1)]

    (_, one), (_, two) = (read_model(tmp_path / run / "model") for run in ("alone", "together"))
    assert one.keys() == two.keys()
    for part, tensors in one.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(two[part][name], tensor, atol=1e-4, rtol=1e-4)
    for told in together:
        assert told["processes"] == 2
        assert told["left"] == [], "a thread of the group could abort the interpreter as it ends"
        assert [tuple(row) for row in told["matrix"]] == [tuple(row) for row in alone["matrix"]]
        assert told["thumbnails"] == alone["thumbnails"] != []
        assert told["losses"] == pytest.approx(alone["losses"], abs=1e-4)
        assert told["accuracies"] == pytest.approx(alone["accuracies"])
        assert "a record.json of an earlier run" in told["refused"]
    assert alone["processes"] == 1
    assert alone["losses"][1] < alone["losses"][0]


def _launch(script: Path, folder: Path, *, processes: int) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, str(script), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-4000:]
