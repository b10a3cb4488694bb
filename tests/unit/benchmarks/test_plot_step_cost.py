"""The picture is made of the JSON alone, the same every time, and says what was not measured."""

from __future__ import annotations

from plot_step_cost import picture, straight_line

ROWS = [
    {"method": "floor", "looped": False, "tasks": 0, "images_a_second": 1.1, "saved_bytes": 10_000_000},
    *(
        {"method": "sd_lora", "looped": looped, "tasks": t, "images_a_second": 1 / s, "saved_bytes": 10_000_000 * s}
        for looped in (False, True)
        for t in (1, 10, 50)
        for s in (t if looped else 1,)
    ),
]
RESULTS = {
    "shapes": {"vit_ti_16": "ViT-Ti/16, 224 px, batch 32"},
    "rows": [{"shape": "vit_ti_16", "precision": "fp32", "batch": 32, **row} for row in ROWS],
}


def test_the_line_goes_on_through_the_last_two_points() -> None:
    assert straight_line([(1, 9.0), (10, 20.0), (50, 60.0)], 1000) == [(50, 60.0), (1000, 1010.0)]


def test_the_same_figures_give_the_same_picture() -> None:
    first, second = (picture(RESULTS, RESULTS, "vit_ti_16", "fp32") for _ in range(2))
    assert first == second
    for said in ("not measured", "floor", "ViT-Ti/16, 224 px, batch 32", "MB an image"):
        assert said in first
