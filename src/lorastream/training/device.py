"""Where the work runs, through accelerate: device, precision, processes; and what it uses."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import AutocastKwargs
from torch import Tensor

from lorastream import processes
from lorastream.errors import RecipeError
from lorastream.training.settings import TrainingSettings

MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def join_processes() -> PartialState:
    """Return which of the processes that share the work this one is; the first call joins them."""
    # The defaults of its functions are the group that there is when it is first imported, and would keep its threads.
    import torch.distributed.nn.functional  # pyright: ignore[reportUnusedImport]

    launched = "LOCAL_RANK" in os.environ
    return PartialState(cpu=launched and not torch.accelerator.is_available())


def leave_processes() -> None:
    """End this process's part in the group, and the group's threads; does nothing where it works alone."""
    _accelerator.cache_clear()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


@contextmanager
def working_together() -> Generator[PartialState]:
    """Join the processes that share the work and leave them at the end; what one of them fails of ends all.

    A process that fails tells the others why and hangs up, so that they fail too, where they would have waited for it.

    Raises:
        ProcessLostError: another process failed or is gone; whatever it led to here is its cause.
    """
    store = None
    try:
        state = join_processes()
        processes.watch()
        yield state
    except Exception as error:
        store = processes.store_of_failures()
        is_lost = isinstance(error, processes.ProcessLostError)
        told = processes.lost(error) if processes.announced() and not is_lost else error
        processes.announce(processes.reason_of(told))
        if told is error:
            raise
        raise told from error
    finally:
        leave_processes()
        processes.end(store)


class _OwnPrecision(Accelerator):
    """An accelerator that keeps its precision; accelerate itself has one for the whole process, the last one made."""

    def __init__(self, mixed_precision: str) -> None:
        # One process may run recipes of several precisions one after another; accelerate has no public name for this.
        AcceleratorState._reset_state()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        self._own = mixed_precision
        join_processes()
        super().__init__(mixed_precision=mixed_precision)

    @property
    def mixed_precision(self) -> str:
        """As it was made with."""
        return self._own

    @contextmanager
    def autocast(self, autocast_handler: AutocastKwargs | None = None) -> Generator[None]:
        """Compute in its own precision, as long as the context lasts."""
        del autocast_handler
        kind = nullcontext() if self._own == "no" else torch.autocast(self.device.type, dtype=AUTOCAST[self._own])
        with kind:
            yield


_accelerator = cache(_OwnPrecision)


def accelerator_for(settings: TrainingSettings) -> Accelerator:
    """Return the accelerator for a precision: one a process, on the device and with the processes it was started with.

    Raises:
        RecipeError: fp16 without an accelerator that can do it.
    """
    if settings.precision == "fp16" and not torch.cuda.is_available():
        raise RecipeError(
            "training.precision",
            expected="fp32 or bf16 on a processor",
            got="fp16",
            next_step="write training.precision=bf16, which is as fast and needs no loss scaling",
        )
    if settings.deterministic:
        be_deterministic()
    return _accelerator(MIXED[settings.precision])


def be_deterministic() -> None:
    """Let torch take only operations whose results do not change from run to run, in this process from here on.

    One that has no such form raises an error, which names it. cuBLAS has to know before it is first used.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False


def preparing_threads(device: torch.device) -> int:
    """Return how many threads prepare batches ahead: one beside an accelerator; none where it would share its cores."""
    return 0 if device.type == "cpu" else 1


def total(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, on each of them.

    Raises:
        ProcessLostError: another process failed or is gone.
    """
    return tensor if accelerator.num_processes == 1 else processes.total(tensor)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory used so far: of the accelerator since `reset_peak_memory`, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count anew where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
