"""The processes that share a run: which one this is, what they put together, and what one of them fails of.

They speak through `torch.distributed`, which accelerate sets up. Alone, nothing is sent and nothing changes: every
function here gives back what it was given. All processes must call the functions that put something together equally
often and in the same order.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from lorastream.errors import LorastreamError, RunError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

GRACE = 5.0
"""Seconds that the others are given to end in order once one process has failed."""
_FAILED, _ENDED = "lorastream/failed", "lorastream/ended"
_told: dict[str, bool] = {}
_LOOK_EVERY = 0.5  # seconds


Decided = TypeVar("Decided")


class ProcessLostError(RunError):
    """Another of the processes that share a run failed or is gone."""


def launched() -> int:
    """Return how many processes a launcher such as torchrun has started; known before torch is loaded."""
    count = os.environ.get("WORLD_SIZE", "1") if "LOCAL_RANK" in os.environ else "1"
    return int(count) if count.isdigit() else 1


def joined() -> bool:
    """Whether this process has joined others."""
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def shard() -> tuple[int, int]:
    """Return this process's number, from 0, and how many there are."""
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if joined() else (0, 1)


def total(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, on each of them.

    Raises:
        ProcessLostError: another process failed or is gone.
    """
    return _reduced(tensor, "SUM")


def smallest(tensor: Tensor) -> Tensor:
    """Return the elementwise minimum of a tensor over all processes, on each of them.

    Raises:
        ProcessLostError: another process failed or is gone.
    """
    return _reduced(tensor, "MIN")


def gathered(rows: Tensor, positions: Tensor) -> Tensor:
    """Return the rows of all processes in the order of their positions: what one process would have, whoever has which.

    Args:
        rows: `[n, ...]`, n may differ and be 0; on an accelerator where the processes have one.
        positions: int64 `[n]`; over all processes 0 to N - 1, each once.

    Returns:
        `[N, ...]`, on each process, where the rows are.

    Raises:
        ProcessLostError: another process failed or is gone.
    """
    count = int(total(positions.new_tensor(len(positions))))
    whole = rows.new_zeros(count, *rows.shape[1:])
    # Every row is one process's and zero on the others, so the sum is exact; parts need not be of one size.
    whole[positions] = rows
    return total(whole)


def by_the_first(decide: Callable[[], Decided]) -> Decided:
    """Return what the first process decides, on each of them: of what lies on disk it alone must be asked.

    Looked at by each for itself, a folder could have changed meanwhile, or lie on the first one's machine alone.

    Raises:
        LorastreamError: as `decide` raised it, on each process.
        ProcessLostError: another process failed or is gone.
    """
    rank, count = shard()
    if count == 1:
        return decide()
    import torch.distributed as dist

    told: list[Decided | LorastreamError | None] = [None, None]
    if rank == 0:
        try:
            told[0] = decide()
        except LorastreamError as error:
            told[1] = error
    with _exchange():
        dist.broadcast_object_list(told)
    if isinstance(told[1], LorastreamError):
        raise told[1]
    return cast("Decided", told[0])


def announce(reason: str) -> None:
    """Tell the other processes why this one fails; the first reason counts, and who gave it `speaks`."""
    rank, count = shard()
    if count == 1:
        return
    own = f"process {rank} of {count}: {reason}"
    try:
        _told["first"] = _store().compare_set(_FAILED, "", own).decode() == own
    except RuntimeError:  # the store went down with the process that kept it
        _told["first"] = False


def speaks() -> bool:
    """Whether it is for this process to say what went wrong: the first to fail; before they joined, one a machine."""
    return _told.get("first", os.environ.get("LOCAL_RANK", "0") == "0")


def announced() -> str | None:
    """Return which process failed first, and of what; None where none has said so."""
    if not joined():
        return None
    try:
        store = _store()
        return store.get(_FAILED).decode() if store.check([_FAILED]) else None
    except RuntimeError:
        return None


def watch() -> None:
    """See to it that this process ends soon after another has failed, even while it waits for the other in vain."""
    if shard()[1] > 1 and not any(thread.name == _FAILED for thread in threading.enumerate()):
        threading.Thread(target=_watch, args=(_store(),), name=_FAILED, daemon=True).start()


def end(store: Store | None) -> None:
    """Say that this process is ending, and wait: a launcher blames the first to go, and kills the others then.

    The one that failed goes once all have said so. One that is lost through it leaves it the time to go first, and
    ends here where a launcher ends it.

    Args:
        store: as `store_of_failures` gave it before the group was left; None where nothing failed.
    """
    if store is None:
        return
    count, until = launched(), time.monotonic() + GRACE
    try:
        store.add(_ENDED, 1)
        while (not speaks() or store.add(_ENDED, 0) < count) and time.monotonic() < until:
            time.sleep(0.05)
    except RuntimeError:
        return


def store_of_failures() -> Store | None:
    """Return where the processes leave word for each other; None alone."""
    return _store() if shard()[1] > 1 else None


def lost(error: Exception) -> ProcessLostError:
    """Return what a failed exchange with the other processes means."""
    said = announced()
    rank, count = shard()
    reason = said or f"no word from one of them, which was killed or ran out of memory ({_in_short(error)})"
    return ProcessLostError(
        f"the {count} processes that share this run, seen from process {rank}",
        expected="all of them at work",
        got=reason,
        next_step="mend what stopped that process, and go on with the same command and --resume",
    )


def reason_of(error: BaseException) -> str:
    """Return an error as one text."""
    return str(error) if isinstance(error, LorastreamError) else f"{type(error).__name__}: {error}"


def _reduced(tensor: Tensor, how: str) -> Tensor:
    if shard()[1] == 1:
        return tensor
    import torch.distributed as dist

    result = tensor.clone().contiguous()
    with _exchange():
        dist.all_reduce(result, getattr(dist.ReduceOp, how))
    return result


@contextmanager
def _exchange() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no class of its own for a peer that gloo finds gone
        raise lost(error) from error


def _watch(store: Store) -> None:
    """End this process where another failed and the grace is over: it may wait for the other on its device for ever."""
    try:
        while not store.check([_FAILED]):
            time.sleep(_LOOK_EVERY)
    except RuntimeError:
        return
    time.sleep(GRACE)
    if joined():
        os._exit(RunError.exit_code)


def _store() -> Store:
    import torch.distributed as dist

    return dist.distributed_c10d._get_default_store()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _in_short(error: BaseException) -> str:
    """Return the first sentence of what gloo or NCCL says, without its own places in its source."""
    first = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
    return re.sub(r"^.*\](:\d+)?:? ", "", first)
