"""Teaches cases in groups of one, two and three processes, forked from one process that has loaded everything.

Started as a script by `test_several_processes.py`: `several_processes.py CASES.json FOLDER`. A case is a method with
its options and training settings. Every process of a group of n writes `FOLDER/<n>-<rank>.json`, the first one also the
tensors of every case, `FOLDER/<n>-<case>.safetensors`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))

from groups import forked
from lorastream.data.sources import load
from lorastream.data.stream import Stream, StreamConfig
from lorastream.data.transforms import TransformConfig, build_transforms
from lorastream.heads import features_by_class
from lorastream.learner import Learner
from lorastream.methods.protocol import learnt_state
from lorastream.training.device import working_together
from tiny import SPEC, backbone


def stream(folder: Path) -> Stream:
    """Return two tasks of two classes; parts of batches, test images and passes are uneven, and some are empty."""
    return Stream.of(
        load("synthetic", n_classes=4, images_per_class=11, test_images_per_class=7, size=16),
        config=StreamConfig(tasks=2, order="natural"),
        seed=0,
        transforms=build_transforms(SPEC, TransformConfig(train="gentle")),
        cache=folder / "cache",
    )


def taught(case: dict[str, Any], tasks: Stream) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Teach one case; return all tensors and all figures of learning."""
    learner = Learner(backbone(width=16), case["method"], training=case["training"], seed=3, **case["options"])
    exemplar_free = learner.method.traits.exemplar_free
    losses: list[float] = []
    for index in range(len(tasks)):
        learnt = learner.learn(tasks[index] if exemplar_free else tasks.joined(index))
        losses += [number for epoch in learnt.epochs for number in (epoch.loss, epoch.accuracy)]
    found = learner.evaluate(tasks)
    parts = {**learner.model.tensors(), "method": learnt_state(learner.method)}
    tensors = {f"{part}/{name}": t.contiguous() for part, own in parts.items() for name, t in own.items()}
    in_order = features_by_class(learner.model.passes(tasks[1].train, size=1), tasks[1].classes)
    tensors["features"] = torch.cat(in_order)
    figures = {"losses": losses, "confusion": found.confusion.tolist(), "in_task": found.right_in_task.tolist()}
    return tensors, figures


def work(cases: dict[str, dict[str, Any]], folder: Path, size: int) -> None:
    """Teach all cases as one process of a group."""
    with working_together() as state:
        tasks, told = stream(folder / f"{size}-{state.process_index}"), dict[str, Any]()
        assert state.num_processes == size
        for name, case in cases.items():
            tensors, told[name] = taught(case, tasks)
            if state.process_index == 0:
                save_file(tensors, folder / f"{size}-{name}.safetensors")
        (folder / f"{size}-{state.process_index}.json").write_text(json.dumps(told), "utf-8")


if __name__ == "__main__":
    given, where = json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2])
    for count in (1, 2, 3):
        codes = forked(count, lambda _before, size=count: work(given, where, size))
        assert codes == [0] * count, f"a group of {count} failed"
