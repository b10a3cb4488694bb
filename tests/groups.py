"""Processes that share their work on this machine: what they are told, and groups that are forked."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence

import torch


def free_port() -> int:
    """Return a port at which nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment_of(rank: int, size: int, port: int) -> dict[str, str]:
    """Return the variables that make a process one of a group; of one process nothing."""
    if size == 1:
        return {}
    own = {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{size}", "GLOO_SOCKET_IFNAME": "lo"}
    return {**own, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}


def forked(size: int, work: Callable[[Sequence[int]], None]) -> list[int]:
    """Fork a group, wait for it, and return the processes' exit codes, negative for signals.

    Args:
        size: of the group.
        work: of each process; given those forked before it, so that their number is its rank.
    """
    port = free_port()
    children: list[int] = []
    for rank in range(size):
        child = os.fork()
        if not child:
            os.environ |= environment_of(rank, size, port)
            torch.set_num_threads(1)
            os._exit(_code_of(work, children))
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _code_of(work: Callable[[Sequence[int]], None], before: Sequence[int]) -> int:
    try:
        work(before)
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 (a child must never go on as its parent does)
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
