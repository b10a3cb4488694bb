"""What the benchmarks are held against: one table, and the lines that say whether each target is met."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from measuring import Json, print_table


@dataclass(frozen=True, kw_only=True)
class Target:
    """One bound on one measured figure.

    Attributes:
        number: of the target in the issue.
        what: in words.
        benchmark: which script measures it.
        figure: the name of the figure in its JSON.
        only: which of the figures of that name count: their methods, or their numbers of tasks.
        limit: the bound.
        direction: `at most` or `at least` the limit, or `within` it of 1, either way.
        spelt: how a number of this kind is written.
    """

    number: int
    what: str
    benchmark: str
    figure: str
    only: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    limit: float
    direction: Literal["at most", "at least", "within"] = "at most"
    spelt: str = ".3f"

    def chosen(self, figures: Sequence[Json]) -> list[Json]:
        """Return the figures that this target is about."""
        named = [one for one in figures if one["figure"] == self.figure]
        return [one for one in named if all(one.get(key) in allowed for key, allowed in self.only.items())]

    def worst(self, figures: Sequence[Json]) -> Json | None:
        """Return the figure that is hardest to meet the target with; None where nothing was measured."""
        distance: dict[str, Callable[[Json], float]] = {
            "at most": lambda one: one["value"],
            "at least": lambda one: -one["value"],
            "within": lambda one: abs(one["value"] - 1),
        }
        return max(self.chosen(figures), key=distance[self.direction], default=None)

    def met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        if self.direction == "within":
            return abs(value - 1) <= self.limit
        return value <= self.limit if self.direction == "at most" else value >= self.limit

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.direction == "within":
            return f"1 ± {self.limit:g}"
        return f"{'≤' if self.direction == 'at most' else '≥'} {self.limit:g}"


_FIRST, _FLOOR, _LOOP = "step over first task's", "step over floor", "loop over ours"

TARGETS: tuple[Target, ...] = (
    Target(
        number=1,
        what="step at T = 100 over T = 1",
        benchmark="step_cost",
        figure=_FIRST,
        only={"tasks": (100,)},
        limit=1.05,
    ),
    Target(
        number=1,
        what="step at T = 1,000 over T = 1",
        benchmark="step_cost",
        figure=_FIRST,
        only={"tasks": (1000,)},
        limit=1.15,
    ),
    Target(
        number=2,
        what="step over the floor, T = 1, 10, 100",
        benchmark="step_cost",
        figure=_FLOOR,
        only={"tasks": (1, 10, 100)},
        limit=1.10,
    ),
    *(
        Target(
            number=3,
            what=f"released {name} over ours, T = {tasks}",
            benchmark="step_cost",
            figure=_LOOP,
            only={"tasks": (tasks,), "method": (method,)},
            limit=limit,
            direction="at least",
            spelt=".2f",
        )
        for method, name in (("sd_lora", "SD-LoRA"), ("inf_lora", "InfLoRA"))
        for tasks, limit in ((10, 2.0), (50, 10.0))
    ),
    Target(
        number=4,
        what="saved bytes beyond T = 1's, up to 1,000",
        benchmark="memory",
        figure="saved bytes beyond first task's",
        limit=0,
        spelt=",.0f",
    ),
    Target(
        number=4, what="saved bytes over the floor's", benchmark="memory", figure="saved bytes over floor", limit=1.10
    ),
    Target(
        number=5,
        what="merged inference over plain timm",
        benchmark="inference",
        figure="merged over plain",
        limit=1.02,
    ),
    Target(
        number=5,
        what="merged outputs, largest difference",
        benchmark="inference",
        figure="merged outputs' difference",
        limit=1e-5,
        spelt=".1e",
    ),
    Target(
        number=5,
        what="exported models over the plain one",
        benchmark="exported",
        figure="exported over plain",
        only={"method": ("timm", "hf", "peft, merged", "onnx", "torch")},
        limit=1.02,
    ),
    Target(
        number=6,
        what="InfLoRA's statistics over a forward pass",
        benchmark="inference",
        figure="statistics over forward",
        limit=1.15,
    ),
    Target(
        number=6,
        what="DualGPM update of a ViT-B/16, seconds",
        benchmark="inference",
        figure="DualGPM update",
        limit=60,
        spelt=".1f",
    ),
    Target(
        number=7,
        what="backbone passes a test image, any T",
        benchmark="inference",
        figure="passes of the backbone",
        limit=1,
        spelt=".2f",
    ),
    Target(
        number=8,
        what="losses' difference with torch.compile",
        benchmark="compiled",
        figure="losses' difference",
        limit=1e-3,
        spelt=".1e",
    ),
    Target(
        number=8,
        what="compilations after the second task",
        benchmark="compiled",
        figure="compilations after the second task",
        limit=0,
        spelt=".0f",
    ),
    *(
        Target(
            number=9,
            what=f"lorastream {words}, seconds",
            benchmark="startup",
            figure="start-up seconds",
            only={"method": (words,)},
            limit=0.5,
            spelt=".2f",
        )
        for words in ("--help", "list")
    ),
    Target(
        number=9,
        what="report loads torch (1: yes)",
        benchmark="startup",
        figure="loads torch",
        only={"method": ("report",)},
        limit=0,
        spelt=".0f",
    ),
    Target(
        number=10,
        what="step from cached files over memory",
        benchmark="pipeline",
        figure="step from files over from memory",
        limit=1.05,
    ),
)


def verdicts(results: Mapping[str, Json]) -> list[tuple[str, ...]]:
    """Return one line a target: number, what, the worst that was measured, the bound, and whether it is met.

    Args:
        results: what each benchmark wrote, by its name.
    """
    lines: list[tuple[str, ...]] = []
    for target in TARGETS:
        worst = target.worst(results.get(target.benchmark, {}).get("figures", []))
        if worst is None:
            lines.append((str(target.number), target.what, "", target.bound, "not measured"))
            continue
        met, value = target.met(worst["value"]), format(worst["value"], target.spelt)
        where = ", ".join(str(worst[key]) for key in ("shape", "precision", "method", "tasks") if key in worst)
        what = target.what if met or "precision" not in worst else f"{target.what}\n  at {where}"
        lines.append((str(target.number), what, value, target.bound, "met" if met else "NOT MET"))
    return lines


def show(results: Mapping[str, Json]) -> None:
    """Print the lines."""
    headings = ("", "target", "measured", "bound", "")
    print_table("Targets, each at its worst measurement", headings, verdicts(results), words=2)
