"""On a Ray cluster that it starts itself a suite comes to the same: Ray only says where each process starts.

The cluster takes a minute to start on a busy machine: `make ray` runs that test, the suite leaves it out.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from lorastream.errors import MissingExtraError, RunError
from lorastream.suites import on_ray
from lorastream.suites.carry_out import Standing, carry_out
from lorastream.suites.plan import Suite
from lorastream.suites.state import found_in

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its log files open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def cluster() -> Iterator[on_ray.RayCluster]:
    """Start a cluster of this machine alone, and stop it."""
    pytest.importorskip("ray")
    cluster = on_ray.RayCluster(on_ray.LOCAL, 1)
    yield cluster
    cluster.close()


@pytest.mark.skipif("LORASTREAM_RAY" not in os.environ, reason="starts a Ray cluster: make ray")
def test_runs_are_made_where_ray_says_and_their_words_come_back(
    stand_in: object, suite_of: Callable[..., Suite], cluster: on_ray.RayCluster
) -> None:
    """One that finishes, one that fails once, and one that always fails."""
    del stand_in
    suite = suite_of("prototypes", "finetune", "sequential_lora")
    told: list[Standing] = []
    found = {run.folder: found_in(run.folder) for run in suite.runs}
    standings = carry_out(suite, cluster, found=found, jobs=cluster.slots, told=told.append)
    assert [(s.run.method, s.state, s.attempts, s.code) for s in standings] == [
        *(("prototypes", "finished", 1, 0), ("finetune", "finished", 2, 0), ("sequential_lora", "failed", 2, 1)),
    ]
    assert ("prototypes, seed 0: task 1 of 2 learnt",) in [s.said for s in told if s.state == "running"]
    calls = (suite.runs[1].folder / "calls.txt").read_text().splitlines()
    assert [call.endswith("--resume") for call in calls] == [False, True]


def test_an_address_where_no_cluster_is_is_a_failure_and_sigterm_is_handled_as_before() -> None:
    pytest.importorskip("ray")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RunError, match="ray start --head"):
        on_ray.RayCluster("nonsense://nowhere", 1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"lorastream\[ray\]"):
        on_ray.RayCluster(on_ray.LOCAL, 1)
