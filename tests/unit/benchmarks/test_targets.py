"""A target is held against its worst measurement, and what was not measured is never met."""

from __future__ import annotations

import pytest

import bench
from measuring import figure
from targets import TARGETS, Target, verdicts


@pytest.mark.parametrize(
    ("direction", "limit", "met", "missed"),
    [("at most", 1.05, 1.05, 1.0501), ("at least", 2.0, 2.0, 1.99), ("within", 0.02, 0.985, 1.021)],
)
def test_a_bound(direction: str, limit: float, met: float, missed: float) -> None:
    target = Target(number=1, what="", benchmark="x", figure="f", limit=limit, direction=direction)  # pyright: ignore[reportArgumentType]
    assert target.met(met)
    assert not target.met(missed)


def test_the_worst_of_those_it_is_about_counts() -> None:
    figures = [
        figure("f", 1.0, tasks=100, shape="a"),
        figure("f", 1.2, tasks=100, shape="b"),
        figure("f", 9.0, tasks=1000, shape="b"),
        figure("g", 9.0, tasks=100, shape="a"),
    ]
    target = Target(number=1, what="", benchmark="x", figure="f", only={"tasks": (100,)}, limit=1.1)
    assert target.worst(figures) == figures[1]
    lowest = Target(number=1, what="", benchmark="x", figure="f", limit=1.1, direction="at least")
    assert lowest.worst(figures) == figures[0]


def test_lines() -> None:
    results = {
        "step_cost": {"figures": [figure("step over first task's", 1.051, tasks=100, shape="vit_b_16")]},
        "startup": {"figures": [figure("loads torch", 0, method="report")]},
    }
    lines = {what.partition("\n")[0]: (value, said) for _, what, value, _, said in verdicts(results)}
    assert lines["step at T = 100 over T = 1"] == ("1.051", "NOT MET")
    assert lines["step at T = 1,000 over T = 1"] == ("", "not measured")
    assert lines["report loads torch (1: yes)"] == ("0", "met")


def test_every_target_is_measured_by_a_benchmark_that_runs() -> None:
    assert {target.benchmark for target in TARGETS} == set(bench.BENCHMARKS)
    assert {target.number for target in TARGETS} == set(range(1, 11))
