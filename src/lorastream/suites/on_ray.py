"""Attempts on a Ray cluster: Ray only says where each process starts; its lines come back as they are said.

Every machine of the cluster has lorastream installed and sees the folders of the suite under the same paths.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorastream.errors import MissingExtraError, RunError
from lorastream.suites import attempt as attempts
from lorastream.suites.attempt import Ended
from lorastream.suites.plan import PlannedRun

if TYPE_CHECKING:
    from types import ModuleType

LOCAL = "local"
"""The address of a cluster that is started for the suite, of this machine alone, and stopped after it."""


class RayCluster:
    """A Ray cluster.

    Args:
        address: of a cluster that runs (`auto`: the one of this machine), or `local`.
        threads: processors that each run asks for, and computes with; None: one, or its share where the cluster has
            GPUs. There each run asks for a GPU too.

    Attributes:
        slots: how many runs the cluster has room for.

    Raises:
        MissingExtraError: ray is not installed.
        RunError: no cluster answers.
    """

    def __init__(self, address: str, threads: int | None) -> None:
        self._ray = _imported()
        self._running: set[Any] = set()
        self._lock = threading.Lock()
        _join(self._ray, address)
        resources: dict[str, float] = self._ray.cluster_resources()
        processors, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        self._gpus = min(1, gpus)
        self._threads = threads or max(1, processors // gpus if gpus else 1)
        self.slots = max(1, gpus or processors // self._threads)

    def attempt(self, run: PlannedRun, *, resume: bool) -> Generator[str | Ended]:
        """Start a run; yield every line that it says, and at last how it ended."""
        started = self._ray.remote(attempts.attempt_in).options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            num_returns="streaming",
            max_retries=0,
            name=run.label,
        )
        lines = started.remote(
            str(Path.cwd()),
            run.arguments(resume=resume),
            str(run.folder / attempts.LOG),
            environment={"OMP_NUM_THREADS": str(self._threads)},
            program=tuple(attempts.PROGRAM),
        )
        with self._lock:
            self._running.add(lines)
        try:
            for line in lines:
                yield self._ray.get(line)
        except self._ray.exceptions.RayError as error:
            yield Ended(code=-1, last_lines=tuple(str(error).splitlines()[-3:]), seconds=0.0)
        finally:
            with self._lock:
                self._running.discard(lines)

    def stop(self) -> None:
        """Tell every run to save what it learnt and to end."""
        self._cancel(force=False)

    def kill(self) -> None:
        """End every run at once."""
        self._cancel(force=True)

    def close(self) -> None:
        """Leave the cluster; one that was started for the suite stops."""
        self._ray.shutdown()

    def _cancel(self, *, force: bool) -> None:
        with self._lock:
            for lines in self._running:
                self._ray.cancel(lines, force=force)


def _imported() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about the suite is told to anyone
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.missing("--ray", package="ray", extra="ray") from error
    return ray


def _join(ray: ModuleType, address: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            **({"include_dashboard": False} if address == LOCAL else {}),
        )
    except Exception as error:  # Ray raises it bare where a cluster does not come up in time
        raise RunError(
            f"--ray-address {address}",
            expected="the address of a Ray cluster that runs, or `auto`",
            got=str(error).partition("\n")[0],
            next_step="start one with `ray start --head`, or let --ray start one of this machine",
        ) from error
    finally:
        # Ray takes SIGTERM for itself and keeps it: what the process does on it is not Ray's to say.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
