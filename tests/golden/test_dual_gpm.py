"""DualGPM on matrices small enough to work out on paper, and against singular values as spec section 4.3 states them.

e1, e2, ... are the unit vectors. C is a second moment of inputs; its energy S is C (paper) or C² (code).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lorastream.linalg.dual_gpm import (
    Energy,
    FirstTask,
    FreeSpace,
    Memory,
    design,
    energy,
    free_spaces,
    protect,
    threshold_at,
)

UNIT = torch.eye(4, dtype=torch.float64)
E1, E2, E3, E4 = UNIT
FALLING = torch.diag(torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64))


def _columns(*vectors: Tensor) -> Tensor:
    return torch.stack(vectors, dim=1)


def _space(one: Tensor, memory: Memory) -> FreeSpace:
    (space,) = free_spaces([one], [memory])
    return space


def _after(memory: Memory, one: Tensor, threshold: float, *, dual: bool = True) -> Memory:
    return protect(memory, _space(one, memory), threshold, dual=dual)


def _is(memory: Memory, mode: str, *basis: Tensor) -> None:
    assert memory.mode == mode
    expected = _columns(*basis) if basis else torch.empty(4, 0, dtype=torch.float64)
    torch.testing.assert_close(memory.basis, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("reading", "first_task", "protected"),
    [("eigenvalues", "below", 2), ("eigenvalues", "reached", 3), ("squared_eigenvalues", "below", 1)],
)
def test_first_task(reading: Energy, first_task: FirstTask, protected: int) -> None:
    """C = diag(8, 4, 2, 1) with a threshold of 0.9.

    C: trace 15, cumulative shares 8/15 = 0.533, 12/15 = 0.8, 14/15 = 0.933: two stay below 0.9, three reach it.
    C²: diag(64, 16, 4, 1), trace 85, cumulative 64/85 = 0.753, 80/85 = 0.941: one stays below. One of four is fewer
    than half and is stored itself ("remove"); two or more are half or more: what they leave free is stored ("retain").
    """
    empty = Memory.empty(4)
    memory = protect(empty, _space(energy(FALLING, reading), empty), 0.9, first_task=first_task)
    assert memory.protected == protected
    if protected == 1:
        _is(memory, "remove", E1)
    else:
        _is(memory, "retain", *UNIT[protected:])


def test_first_task_counts_strictly_below() -> None:
    """Cumulative shares of diag(8, 4, 2, 1): 0.533, 0.8, ... At 12/15 the second is not below it: one."""
    empty = Memory.empty(4)
    _is(_after(empty, FALLING, 12 / 15), "remove", E1)
    _is(_after(empty, FALLING, 12 / 15 + 1e-9), "retain", E3, E4)


def test_first_task_protects_at_least_one() -> None:
    """The first share, 0.533, is above a threshold of 0.5: none is below, and one is protected all the same."""
    _is(_after(Memory.empty(4), FALLING, 0.5), "remove", E1)


def test_first_task_does_not_copy_the_fault_of_the_code() -> None:
    """With two of four protected the code would store e1 and e2 as *free*: the next task would move just those.

    What is free is e3 and e4; so with inputs along all four, the next update moves e3 (energy 2) before e4 (1), and
    nothing along e1 and e2.
    """
    memory = _after(Memory.empty(4), FALLING, 0.9)
    _is(memory, "retain", E3, E4)
    torch.testing.assert_close(design(_space(FALLING, memory), 2, row_scale=1.0), torch.stack([E3, E4]))


def test_remove_adds_until_the_threshold_is_reached() -> None:
    """M = [e1], S = [[6,1,0,0],[1,2,1,0],[0,1,2,0],[0,0,0,0]], threshold 0.85.

    tr S = 10. Outside of e1 there is [[2,1],[1,2]] on e2, e3: eigenvalue 3 along (e2 + e3)/√2, 1 along (e2 - e3)/√2,
    and 0 along e4. Captured: 1 - 4/10 = 0.6 < 0.85, so take (e2 + e3)/√2: 0.9 is enough. Two columns of four are not
    more than half: no switch.
    """
    one = torch.zeros(4, 4, dtype=torch.float64)
    one[:3, :3] = torch.tensor([[6.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    memory = Memory(basis=_columns(E1), mode="remove")
    space = _space(one, memory)
    torch.testing.assert_close(space.shares, torch.tensor([0.3, 0.1, 0.0], dtype=torch.float64), atol=1e-12, rtol=0)
    assert space.captured() == pytest.approx(0.6)
    assert space.captured(1) == pytest.approx(0.9)
    _is(_after(memory, one, 0.85), "remove", E1, (E2 + E3) / 2**0.5)
    _is(_after(memory, one, 0.9), "remove", E1, (E2 + E3) / 2**0.5)  # reached exactly
    _is(_after(memory, one, 0.6), "remove", E1)  # reached before


def test_more_than_half_switches_one_way() -> None:
    """M = [e1, (e2 + e3)/√2], v = (e2 - e3)/√2, S = 2 e1e1' + 5 vv' + 3 e4e4', tr S = 10.

    Captured 0.2. With a threshold of 0.6 v is taken: 0.7. Three columns of four are more than half: what is free, e4,
    is stored instead. With plain GPM the three columns are. With 0.9 both are taken, and nothing is free: a basis
    without columns. (v begins with +: its two entries are as large, and the first is made positive.)
    """
    v = (E2 - E3) / 2**0.5
    one = 2 * torch.outer(E1, E1) + 5 * torch.outer(v, v) + 3 * torch.outer(E4, E4)
    memory = Memory(basis=_columns(E1, (E2 + E3) / 2**0.5), mode="remove")
    _is(_after(memory, one, 0.6), "retain", E4)
    _is(_after(memory, one, 0.6, dual=False), "remove", E1, (E2 + E3) / 2**0.5, v)
    _is(_after(memory, one, 0.9), "retain")
    _is(_after(_after(memory, one, 0.6), 10 * torch.outer(E1, E1), 0.99), "retain", E4)


def test_retain_takes_out_while_as_much_as_one_less_the_threshold_is_left() -> None:
    """M⊥ = [e3, e4], S = 16 e1e1' + [[2,1],[1,2]] on e3, e4, tr S = 20.

    In the free space: 3/20 = 0.15 along (e3 + e4)/√2 and 0.05 along (e3 - e4)/√2, together 0.2.
    Threshold 0.79: 0.2 < 0.21, nothing to do. 0.8: 0.2 is as much as 0.2, so the first is taken out; 0.05 are left,
    less than 0.2. 0.95: 0.05 is as much as 0.05, so the second too: nothing is free.
    """
    one = 16 * torch.outer(E1, E1)
    one[2:, 2:] = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    memory = Memory(basis=_columns(E3, E4), mode="retain")
    assert _after(memory, one, 0.79).basis is memory.basis
    _is(_after(memory, one, 0.8), "retain", (E3 - E4) / 2**0.5)
    _is(_after(memory, one, 0.94), "retain", (E3 - E4) / 2**0.5)
    _is(_after(memory, one, 0.95), "retain")


def test_the_two_readings_design_differently_after_the_first_task() -> None:
    """M = [e1], C = [[5,4,0],[4,5,0],[0,0,6]]; what counts is what lies outside of e1.

    C (paper): diag(5, 6), so e3 comes first. C² (code): (C²)_22 = 4² + 5² = 41 and (C²)_33 = 36, so e2 does.
    """
    moment = torch.zeros(4, 4, dtype=torch.float64)
    moment[:3, :3] = torch.tensor([[5.0, 4.0, 0.0], [4.0, 5.0, 0.0], [0.0, 0.0, 6.0]])
    memory = Memory(basis=_columns(E1), mode="remove")
    paper, code = (_space(energy(moment, reading), memory) for reading in ("eigenvalues", "squared_eigenvalues"))
    torch.testing.assert_close(paper.shares, torch.tensor([6.0, 5.0, 0.0], dtype=torch.float64) / 16)
    torch.testing.assert_close(code.shares, torch.tensor([41.0, 36.0, 0.0], dtype=torch.float64) / 118)
    torch.testing.assert_close(design(paper, 1, row_scale=1.0), _columns(E3).mT)
    torch.testing.assert_close(design(code, 1, row_scale=3**-0.5), _columns(E2).mT / 3**0.5)


def test_rows_beyond_what_is_free_are_zero() -> None:
    """M = [e1, e2, e3] leaves e4: of three rows asked for one is real, of norm 1/√3."""
    memory = Memory(basis=_columns(E1, E2, E3), mode="remove")
    down = design(_space(FALLING, memory), 3, row_scale=3**-0.5)
    torch.testing.assert_close(down, torch.stack([E4 / 3**0.5, 0 * E4, 0 * E4]), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("reading", "protected"), [("eigenvalues", 664), ("squared_eigenvalues", 28)])
def test_how_much_the_two_readings_protect(reading: Energy, protected: int) -> None:
    """λ_i = 1/i, d = 768, threshold 0.98 (spec section 4.3).

    Eigenvalues: with H_k the sums of 1/i, H_664/H_768 = 0.97987 and H_665/H_768 = 0.98007, where H_768 = 7.22166.
    Squares: with Z_k the sums of 1/i², Z_28/Z_768 = 0.97945 and Z_29/Z_768 = 0.98017, where Z_768 = 1.64363.
    """
    values = 1 / torch.arange(1, 769, dtype=torch.float64)
    shares = energy(torch.diag(values), reading).diagonal()
    assert float(shares.sum()) == pytest.approx(7.22166 if reading == "eigenvalues" else 1.64363, abs=1e-5)
    space = FreeSpace(
        protected=torch.empty(768, 0, dtype=torch.float64),
        directions=torch.eye(768, dtype=torch.float64),
        shares=shares / shares.sum(),
    )
    memory = protect(Memory.empty(768), space, 0.98)
    assert memory.protected == protected
    assert memory.mode == ("retain" if protected > 384 else "remove")


def test_thresholds_of_ten_tasks() -> None:
    """0.98 + (1 - 0.98) t / 10 for t = 0 to 9; 1 is never reached, and later tasks keep the last."""
    expected = [0.980, 0.982, 0.984, 0.986, 0.988, 0.990, 0.992, 0.994, 0.996, 0.998, 0.998, 0.998]
    found = [threshold_at(task, n_tasks=10, first=0.98, last=1.0) for task in range(12)]
    assert found == pytest.approx(expected, abs=1e-12)
    assert [threshold_at(task, n_tasks=2, first=0.5, last=0.9) for task in range(3)] == pytest.approx([0.5, 0.7, 0.7])


@pytest.mark.parametrize(("threshold", "last", "ends"), [(0.3, 0.4, "remove"), (0.7, 1, "retain"), (0.99, 1, "retain")])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_squared_reading_is_singular_values_of_the_projected_moment(
    seed: int, threshold: float, last: float, ends: str
) -> None:
    """Spec section 4.3 by NumPy's singular values of P C, six tasks of width 12; the first-task fault mended."""
    generator = np.random.default_rng(seed)
    memory, stored, mode = Memory.empty(12), np.empty((12, 0)), "remove"
    for task in range(6):
        inputs = generator.normal(size=(40, 12)) * generator.permutation(np.logspace(0, -1.5, 12))
        moment = inputs.T @ inputs / 40
        epsilon = threshold_at(task, n_tasks=6, first=threshold, last=last)
        space = _space(energy(torch.from_numpy(moment), "squared_eigenvalues"), memory)
        projected = _project(stored, mode) @ moment
        left = np.linalg.svd(projected)[0][:, :2].T
        down = design(space, 2, row_scale=1.0).numpy()
        free = min(2, 12 - memory.protected)
        np.testing.assert_allclose(np.abs(down[:free] @ left[:free].T), np.eye(free), atol=1e-6)
        memory = protect(memory, space, epsilon)
        stored, mode = _by_singular_values(stored, mode, moment, epsilon, first=task == 0)
        assert memory.mode == mode
        np.testing.assert_allclose((memory.basis @ memory.basis.mT).numpy(), stored @ stored.T, atol=1e-6)
    assert mode == ends


def _project(stored: NDArray[np.float64], mode: str) -> NDArray[np.float64]:
    return stored @ stored.T if mode == "retain" else np.eye(len(stored)) - stored @ stored.T


def _by_singular_values(
    stored: NDArray[np.float64], mode: str, moment: NDArray[np.float64], threshold: float, *, first: bool
) -> tuple[NDArray[np.float64], str]:
    """Update a basis as the specification words it: norms of C and of P C, one direction after another."""
    width, whole = len(moment), (moment**2).sum()
    left, values, _ = np.linalg.svd(_project(stored, mode) @ moment)
    share = values**2 / whole
    if first:
        count = max(int((share.cumsum() < threshold).sum()), 1)
        return (left[:, :count], "remove") if count < width / 2 else (left[:, count:], "retain")
    count = 0
    if mode == "remove":
        captured = 1 - share.sum()
        while captured < threshold:
            captured, count = captured + share[count], count + 1
        stored = np.hstack([stored, left[:, :count]])
        if stored.shape[1] <= width / 2:
            return stored, "remove"
        return np.linalg.svd(stored)[0][:, stored.shape[1] :], "retain"
    remaining = share.sum()
    while remaining >= 1 - threshold:
        remaining, count = remaining - share[count], count + 1
    taken = left[:, :count]
    return np.linalg.svd(stored - taken @ taken.T @ stored)[0][:, : stored.shape[1] - count], "retain"
