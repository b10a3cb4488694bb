"""How far the updates of tasks share their subspaces, on the side of the inputs and on that of the outputs.

For the updates ΔW_i and ΔW_j of a projection, the share of ΔW_j's energy that lies in the row space of ΔW_i (inputs:
‖ΔW_j V_i‖² / ‖ΔW_j‖²) and in its column space (outputs: ‖U_i' ΔW_j‖² / ‖ΔW_j‖²), the mean over the projections. A
random subspace of r of d dimensions has the share r / d.

InfLoRA (CVPR 2024, Propositions 1 and 2) takes a new update's rows from outside of what past inputs use. That is the
space it had protected by then, and less of the update than of a random one should lie in it. Past updates may share
with a new one all the same: they use more directions than are protected of their inputs. SD-LoRA (ICLR 2025, section
3.3) finds later tasks along the directions of earlier ones, so they should share more than chance; `down` hardly leaves
its random start, so the outputs tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from lorastream.adapters import Adapter, layer_of
from lorastream.analyses.drawing import heat_map, svg
from lorastream.analyses.finished import FinishedRun
from lorastream.analyses.options import Options
from lorastream.analyses.result import Analysis, verdict
from lorastream.analyses.states import replay_note
from lorastream.errors import MethodError
from lorastream.methods.inf_lora import InfLoRA
from lorastream.methods.sd_lora import SDLoRA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = "energy"
ABOVE_CHANCE = 2.0
"""How many times the share of random subspaces is called more than chance."""
_ROUNDING = 1e-4
Spaces = tuple[Tensor, Tensor, Tensor]
"""Left `[out, r]`, singular values `[r]` and right `[in, r]` of one update."""


def analyse(run: FinishedRun, options: Options) -> Analysis:
    """Decompose each task's update of every projection and measure what they share."""
    run.at_least(2, WHAT)
    n_tasks = min(options.tasks or run.n_tasks, run.n_tasks)
    method = run.learner().method
    updates = _updates(run, n_tasks)
    inputs, outputs = shares(updates, side="inputs"), shares(updates, side="outputs")
    chance = {
        "inputs": fmean(len(right.mT) / len(right) for update in updates for _, _, right in update),
        "outputs": fmean(len(left.mT) / len(left) for update in updates for left, _, _ in update),
    }
    later = {"inputs": _mean_of_later(inputs), "outputs": _mean_of_later(outputs)}
    figures: dict[str, Any] = {
        "share_of_inputs": inputs,
        "share_of_outputs": outputs,
        "chance": chance,
        "mean_of_later_in_earlier": later,
    }
    holds: bool | None = None
    told = ""
    claim = "No claim of the papers is about this method; InfLoRA and SD-LoRA claim the opposite of each other."
    if isinstance(method, InfLoRA):
        claim = "New updates lie outside of what past tasks use (InfLoRA, Propositions 1 and 2)."
        protected, random = shares_of_protected(run, updates)
        figures |= {"share_of_protected_inputs": protected, "chance_of_protected_inputs": random}
        holds = fmean(protected) < fmean(random)
        told = (
            f"{_percent(fmean(protected))} of a new update's energy lies in the inputs protected before it (random "
            f"updates: {_percent(fmean(random))}). Between updates, "
        )
    elif isinstance(method, SDLoRA):
        claim = "Later tasks move along directions of earlier ones (SD-LoRA, section 3.3)."
        holds = later["outputs"] > ABOVE_CHANCE * chance["outputs"]
    note = replay_note(run.folder)
    return Analysis(
        what=WHAT,
        title="Subspaces that tasks' updates share",
        claim=claim,
        paragraph=_paragraph(later, chance, holds, told) + (f" {note}" if note else ""),
        holds=holds,
        figures=figures,
        drawing=svg(lambda figure: _draw(figure, inputs, outputs, chance), width=8.4, height=4.9),
        alt=f"Share of each task's update in the subspace of each other's, for {n_tasks} tasks: of the inputs "
        f"{later['inputs']:.3f} on average, of the outputs {later['outputs']:.3f}.",
    )


def decomposed(up: Tensor, down: Tensor) -> Spaces:
    """Return the singular values and vectors of `up [out, r] down [r, in]`, through r x r products."""
    left, left_core = torch.linalg.qr(up.double())
    right, right_core = torch.linalg.qr(down.double().mT)
    u, s, v = torch.linalg.svd(left_core @ right_core.mT)
    return _without_rounding(left @ u, s, right @ v.mT)


def decomposed_dense(update: Tensor) -> Spaces:
    """Return the singular values and vectors of a dense update `[out, in]` of low rank."""
    u, s, v = torch.linalg.svd(update.double(), full_matrices=False)
    return _without_rounding(u, s, v.mT)


def shares(updates: Sequence[Sequence[Spaces]], *, side: str) -> list[list[float]]:
    """Return E[i][j]: the share of update j's energy in the space of update i, the mean over the projections.

    Args:
        updates: for each task, for each projection.
        side: `inputs` or `outputs`.
    """
    return [
        [fmean(_share(i, j, side) for i, j in zip(one, other, strict=True)) for other in updates] for one in updates
    ]


def shares_of_protected(run: FinishedRun, updates: Sequence[Sequence[Spaces]]) -> tuple[list[float], list[float]]:
    """Return how much of each update but the first lies in the inputs that InfLoRA had protected before it.

    Args:
        run: of InfLoRA.
        updates: for each task, for each projection.

    Returns:
        The share of each update's energy, and that of a random update, means over the projections.
    """
    learner = run.learner()
    method = cast("InfLoRA", learner.method)
    found: list[float] = []
    random: list[float] = []
    for n, update in enumerate(updates[1:], start=1):
        run.put(learner, n)
        bases = [
            method.protection(layer_of(name), len(right)).frame(right)[0]
            for (name, _), (_, _, right) in zip(learner.model.adapters.items(), update, strict=True)
        ]
        found.append(fmean(_inside(basis, right, s) for basis, (_, s, right) in zip(bases, update, strict=True)))
        random.append(fmean(len(basis.mT) / len(basis) for basis in bases))
    return found, random


def _share(one: Spaces, other: Spaces, side: str) -> float:
    (left_i, _, right_i), (left_j, s, right_j) = one, other
    return _inside(right_i, right_j, s) if side == "inputs" else _inside(left_i, left_j, s)


def _inside(basis: Tensor, vectors: Tensor, s: Tensor) -> float:
    """Return the share of the energy of singular vectors `[d, r]` with values `[r]` in the span of `basis [d, k]`."""
    energy = s.square().sum()
    return float((s[:, None] * (vectors.mT @ basis)).square().sum() / energy) if energy > 0 else 0.0


def _without_rounding(left: Tensor, s: Tensor, right: Tensor) -> Spaces:
    """Leave out directions without energy, which are anything; at least one stays."""
    kept = max(int((s > _ROUNDING * s[:1]).sum()), 1)
    return left[:, :kept], s[:kept], right[:, :kept]


def _updates(run: FinishedRun, n_tasks: int) -> list[list[Spaces]]:
    """Return the update of each task and projection: as it is kept, or the difference of two models.

    Raises:
        MethodError: the method makes no low-rank updates.
    """
    last = run.after(run.n_tasks).model
    if not last.adapted:
        raise MethodError(
            f"analysis {WHAT}",
            expected="a run of a method with low-rank updates: sd_lora, inf_lora, sequential_lora, ...",
            got=run.record.method,
            next_step="run one: --methods sd_lora,inf_lora",
        )
    kept = [list(adapter.factors()) for adapter in last.adapters]
    if all(len(factors) == run.n_tasks for factors in kept) and all(min(a.ranks) > 0 for a in last.adapters):
        return [[decomposed(*factors[k]) for factors in kept] for k in range(n_tasks)]
    found: list[list[Spaces]] = []
    before: list[Tensor] | None = None
    learner = run.learner()
    for n in range(1, n_tasks + 1):
        run.progress(n - 1, n_tasks, "decomposing updates")
        run.put(learner, n)
        now = [_delta(adapter) for adapter in learner.model.adapters]
        past = before or [torch.zeros_like(delta) for delta in now]
        found.append([decomposed_dense(a - b) for a, b in zip(now, past, strict=True)])
        before = now
    return found


def _delta(adapter: Adapter) -> Tensor:
    return adapter.delta().detach().double()


def _mean_of_later(table: list[list[float]]) -> float:
    """Return the mean share of an update in the space of an earlier one."""
    return fmean(table[i][j] for j in range(len(table)) for i in range(j))


def _paragraph(later: dict[str, float], chance: dict[str, float], holds: bool | None, told: str) -> str:
    begins = "No claim is at stake on this run" if holds is None else verdict(holds)
    return (
        f"{begins}: {told}on average {_percent(later['inputs'])} of an update's energy lies in the input space of an "
        f"earlier task's update (random subspaces: {_percent(chance['inputs'])}), and {_percent(later['outputs'])} in "
        f"its output space (random: {_percent(chance['outputs'])})."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= _ROUNDING else "nothing"


def _draw(figure: Figure, inputs: list[list[float]], outputs: list[list[float]], chance: dict[str, float]) -> None:
    panels = figure.subplots(1, 2)
    off = [v for table in (inputs, outputs) for i, row in enumerate(table) for j, v in enumerate(row) if i != j]
    sides = (("inputs", inputs), ("outputs", outputs))
    for panel, (side, table) in zip(panels, sides, strict=True):
        rows = [[None if i == j else value for j, value in enumerate(row)] for i, row in enumerate(table)]
        heat_map(panel, rows, names=[str(k + 1) for k in range(len(rows))], largest=max([*off, 1e-9]))
        panel.set_title(f"{side} (random: {chance[side]:.3f})", fontsize=10)
        panel.set_xlabel("update of task j")
    panels[0].set_ylabel("in the space of task i")
