"""The table of an ablation: one line a variant, several class orders as one."""

from __future__ import annotations

import json
from pathlib import Path

from ablation_table import FIGURES, ablation_table


def test_orders_of_a_variant_are_one_line_and_halves_are_apart(tmp_path: Path) -> None:
    found = {
        "tuning, sd_lora, 6 epochs, 7": 0.5,
        "reported, sd_lora, 1993": 0.4,
        "reported, sd_lora, 1994": 0.44,
    }
    path = tmp_path / "ablation.json"
    path.write_text(json.dumps({key: dict.fromkeys(FIGURES.values(), value) for key, value in found.items()}))
    tuning, reported = ablation_table(path).split("Reported half:")
    assert tuning.startswith("Tuning half:")
    assert "| sd_lora, 6 epochs | 1 | 50.0 | 50.0 | 50.0 | 50.0 |" in tuning
    assert "| sd_lora | 2 | 42.0 ± 2.8 |" in reported
