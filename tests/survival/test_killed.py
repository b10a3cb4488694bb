"""A process that is really killed, again and again at instants of its own, ends with the bytes of one that was not."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorastream.backbones.backbone import Backbone
from lorastream.data.sources import load as load_source
from lorastream.experiment import run
from lorastream.recipes import load as recipes
from lorastream.runs.unfinished import status_of

KILLS = 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied only where the system can")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_killed_again_and_again_ends_with_the_same_bytes(
    tiny_backbone: Callable[[], Backbone], outcome: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    images = load_source("synthetic", n_classes=4, images_per_class=8, test_images_per_class=2, size=16)
    changes = ("stream.tasks=2", "training.epochs=3", "training.batch_size=4", "training.checkpoint_every=1")
    recipe = recipes.load("digits", changes, method="sd_lora")

    def go(folder: Path) -> None:
        run(recipe, folder, dataset=images, backbone=tiny_backbone(), cache=tmp_path / "cache", resume=True)

    begun = time.monotonic()
    go(tmp_path / "whole")
    length = time.monotonic() - begun
    instants, kills = random.Random(7), 0
    while status_of(tmp_path / "cut") != "finished":
        # A copy of this process, with all that is loaded: to start Python anew for each kill takes seconds.
        child = os.fork()
        if not child:
            go(tmp_path / "cut")
            os._exit(0)
        if kills < KILLS:
            time.sleep(instants.uniform(0, length / 3))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    assert kills > KILLS / 2
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
