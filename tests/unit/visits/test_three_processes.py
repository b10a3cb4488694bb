"""The law of visits: three `learn` calls in three processes are one sequence in one process, to the bit.

On the bundled backbone and real handwritten digits, as PNG folders that the test writes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from sklearn.datasets import load_digits

from lorastream import Learner
from lorastream.training.checkpoint import read_model

VISITS = {"spring": (0, 1), "summer": (2,), "autumn": (6, 7)}
IMAGES, TESTED = 8, 4
SETTINGS = ("training.epochs=2", "training.batch_size=4")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Write the digits of three visits, and others of the same classes to be tested on."""
    digits = load_digits()
    for name, classes in VISITS.items():
        for label in classes:
            images = digits.images[digits.target == label][: IMAGES + TESTED]
            for i, image in enumerate(images):
                folder = tmp_path / ("test" if i >= IMAGES else name) / f"digit {label}"
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(image * 16, 0, 255).astype(np.uint8)
                PIL.Image.fromarray(pixels).resize((32, 32)).save(folder / f"{i}.png")
    return tmp_path


def _lorastream(desk: Path, *arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lorastream", *arguments]
    return subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, check=True).stdout


def test_three_processes_equal_one(desk: Path) -> None:
    for name in VISITS:
        gentle = ["data.train_transform=gentle"] if name == "spring" else []
        told = _lorastream(desk, "learn", name, *gentle, *SETTINGS, "--into", "model", "--json", "--quiet")
        assert json.loads(told)["committed"] is True

    learner = Learner.create(transforms={"train": "gentle", "test": "squash"})
    for name in VISITS:
        made = learner.learn(desk / name, epochs=2, batch_size=4)
    assert made.classes == ("digit 6", "digit 7")
    learner.save(desk / "alone")
    (apart, parts), (alone, own) = read_model(desk / "model"), read_model(desk / "alone")
    assert apart["classes"] == alone["classes"] == [[f"digit {k}" for k in classes] for classes in VISITS.values()]
    assert parts.keys() == own.keys()
    for part, tensors in own.items():
        assert parts[part].keys() == tensors.keys()
        assert all(torch.equal(parts[part][name], tensor) for name, tensor in tensors.items()), part

    pictures = sorted((desk / "test").rglob("*.png"))
    answers = [answer.name for answer in Learner.load(desk / "model").predict(pictures)]
    right = [answer == picture.parent.name for answer, picture in zip(answers, pictures, strict=True)]
    assert np.mean(right) >= 0.7
