"""Two and three processes that share every batch and every pass learn with any method what one process learns.

The batches are cut so that parts are uneven and some empty; micro-batches and clipping are on in all, and the options
that gather statistics of a task's images are tried too. A backbone in shards is compared to the whole one, for alone it
stays whole. What the processes hold is compared to 1e-4, accuracies exactly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from lorastream import methods

TRAINING = {"epochs": 1, "batch_size": 7, "lr": 0.02, "accumulation": 2, "clip_norm": 0.5, "evaluation_batch_size": 2}
SMALL_ALIGNMENT = {"samples_per_class": 8, "batch_size": 8, "epochs": 1}
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "fisher_of_the_model": ("lora_sum", {"penalty": "fisher", "weight": 10.0, "fisher_labels": "model"}, {}),
    "plain_moments": ("inf_lora", {"memory": "plain", "augmented_statistics": False, "threshold": 0.97}, {}),
    "aligned": ("sequential_lora", {}, {"alignment": SMALL_ALIGNMENT}),
    "aligned_shared": ("sd_lora", {}, {"alignment": {**SMALL_ALIGNMENT, "covariance": "shared"}}),
    "dropout": ("sd_lora", {}, {"lora_dropout": 0.3}),
    "no_clipping": ("sd_lora", {}, {"clip_norm": None, "accumulation": 1}),
    "bf16": ("sd_lora", {}, {"precision": "bf16"}),
    "released": ("energy_lora", {"rank": 3, "energy": 0.8}, {}),
    "gates": ("sd_lora", {}, {"ranks": {"policy": "gated_l1", "penalty": 30.0}, "penalties": {"logits": 0.25}}),
    "sharded_gates": ("lora_sum", {}, {"ranks": {"policy": "gated_l1", "penalty": 30.0}, "shard_backbone": True}),
    "sharded": ("sd_lora", {}, {"shard_backbone": True}),
    "sharded_moments": ("inf_lora", {"blocks": 1}, {"shard_backbone": True}),
}
LONGEST = 600  # seconds for all cases together, on a busy machine
pytestmark = pytest.mark.timeout(LONGEST + 20)
TOLERANCE = {"bf16": 2e-2}


def _cases() -> dict[str, dict[str, Any]]:
    plain = {name: (name, dict[str, Any](), dict[str, Any]()) for name in methods.names()}
    found: dict[str, dict[str, Any]] = {}
    for name, (method, options, training) in {**plain, **VARIANTS}.items():
        ranked = {"rank": 2} if "rank" in methods.load_class(method).__dataclass_fields__ else {}
        settings = {**methods.preset_training(method), **TRAINING, **training}
        found[name] = {"method": method, "options": {**ranked, **options}, "training": settings}
    return found


CASES = _cases()


@pytest.fixture(scope="module")
def groups(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where groups of one, two and three processes have left what they learnt of the asked cases."""
    folder = tmp_path_factory.mktemp("groups")
    here = [item for item in request.session.items if item.path == Path(__file__)]  # "case" is no name elsewhere
    selected = {each.params["case"] for item in here if (each := getattr(item, "callspec", None)) is not None}
    asked = {name: case for name, case in CASES.items() if name in selected}
    (folder / "cases.json").write_text(json.dumps(asked), "utf-8")
    script = Path(__file__).with_name("several_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(folder / "cases.json"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_group_learns_what_one_process_learns(groups: Path, case: str, size: int) -> None:
    alone = json.loads((groups / "1-0.json").read_text("utf-8"))[case]
    one, several = (load_file(groups / f"{n}-{case}.safetensors") for n in (1, size))
    tolerance = TOLERANCE.get(case, 1e-4)
    assert one.keys() == several.keys()
    for name, tensor in one.items():
        assert_close(several[name], tensor, atol=tolerance, rtol=tolerance, msg=lambda text, at=name: f"{at}: {text}")
    for rank in range(size):
        told = json.loads((groups / f"{size}-{rank}.json").read_text("utf-8"))[case]
        assert told["confusion"] == alone["confusion"]
        assert told["in_task"] == alone["in_task"]
        assert told["losses"] == pytest.approx(alone["losses"], abs=10 * tolerance)
    assert sum(map(sum, alone["confusion"])) == 4 * 7, "every test image is counted once"
