"""What the benchmarks share: where they run, taking turns, counting bytes, and the JSON that they write.

Every ratio is of times taken in one process, the ways taking turns, so that a busy neighbour slows all alike: the
median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from lorastream.files import write_atomically
from lorastream.runs.environment import processor, versions

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "performance"
QUICK_RESULTS = ROOT / "build" / "performance"
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
Json = dict[str, Any]
KINDS: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
Work = Callable[[], object]

OnDevice = Annotated[Device, typer.Option(help="cpu or cuda.")]
OnAnyDevice = Annotated[Device, typer.Option(help="Makes no difference; taken as by the others.")]
Quick = Annotated[bool, typer.Option("--quick", help="Tiny shapes: to see that it works.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the JSON.")]

console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a benchmark runs and where its figures go.

    Attributes:
        name: of the benchmark, and of its JSON.
        variant: what sets a run apart from the usual one, such as `batch_128`; its figures never replace the usual.
        device: `cpu` or `cuda`.
        quick: tiny shapes and few rounds, to see that it works; the figures mean nothing.
        out: the folder of the JSON; None for the usual one.
    """

    name: str
    device: Device = "cpu"
    quick: bool = False
    out: Path | None = None
    variant: str = ""

    def __post_init__(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise typer.BadParameter(
                "there is no GPU here that torch can use; leave --device out", param_hint="--device"
            )

    @property
    def path(self) -> Path:
        """The JSON to write: apart for a GPU, for variants, and for quick figures, which never replace real ones."""
        folder = self.out or (QUICK_RESULTS if self.quick else RESULTS)
        words = [self.name, self.device if self.device != "cpu" else "", self.variant]
        return folder / f"{'_'.join(filter(None, words))}.json"

    def write(self, figures: Sequence[Json], **details: Any) -> None:  # noqa: ANN401 (plain values)
        """Write the figures, the conditions that they were measured under, and what else there is to tell."""
        content = {**self._conditions(), **details, "figures": list(figures)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(content, indent=1) + "\n")
        console.print(f"written: {self.path}", soft_wrap=True)

    def _conditions(self) -> Json:
        on_gpu = self.device == "cuda"
        return {
            "command": " ".join(["python", f"benchmarks/{self.name}.py", *sys.argv[1:]]),
            "device": self.device,
            "processor": torch.cuda.get_device_name() if on_gpu else processor(),
            "threads": torch.get_num_threads(),
            "quick": self.quick,
            "versions": versions(),
        }


def start(main: Callable[..., None]) -> None:
    """Run a benchmark's command line, with threads that sleep while they wait, as `lorastream` itself has them.

    Threads that spin take the cores from each other where there are few; the setting is read when torch is loaded, so
    the interpreter begins anew where it is missing.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})  # noqa: S606
    typer.run(main)


def figure(name: str, value: float, **where: str | int) -> Json:
    """Return one measured number as the targets look for it: what it is, its value, and of what."""
    return {"figure": name, "value": value, **where}


@dataclass(frozen=True)
class Timed:
    """Something whose time is taken, and what is done before each time without counting.

    Attributes:
        work: what is timed.
        before: what is not.
    """

    work: Work
    before: Work = field(default=lambda: None)


def apart(*, shape: str = "", batch: int | None = None, whole: bool = False, loops: bool = False) -> str:
    """Return the `variant` of a run of one shape, another batch, all blocks or the loops alone; empty for the usual."""
    words = {shape: bool(shape), f"batch_{batch}": batch is not None, "whole": whole, "loops": loops}
    return "_".join(word for word, there in words.items() if there)


def take_turns(
    ways: Mapping[str, Timed], *, device: str, seconds: float, least: int = 3, most: int = 15
) -> dict[str, list[float]]:
    """Time several ways to do a thing, one after another, round after round; every second round goes backwards.

    Args:
        ways: by name.
        device: it is waited for before and after.
        seconds: no round begins that would, by the rounds so far, end later.
        least: rounds that are done whatever they take.
        most: rounds at most.

    Returns:
        For each way its milliseconds, round by round.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    begun = time.perf_counter()
    for number in range(most):
        spent = time.perf_counter() - begun
        if number >= least and spent + spent / number > seconds:
            break
        for name in list(ways) if number % 2 == 0 else reversed(list(ways)):
            ways[name].before()
            times[name].append(milliseconds(ways[name].work, device))
    return times


def milliseconds(work: Work, device: str) -> float:
    """Return how long one call takes, the device waited for."""
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return 1000 * (time.perf_counter() - begun)


def ratio(times: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    """Return the median over the rounds of one way's time over another's."""
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))


def times_row(times: Sequence[float]) -> Json:
    """Return what a row says of a way's times: `milliseconds`, their median, and all `rounds`."""
    return {"milliseconds": statistics.median(times), "rounds": [round(time, 3) for time in times]}


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> None:
    """Print a table for a terminal 80 columns wide; the first columns are words, the others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < words else "right")
    for row in rows:
        table.add_row(*row)
    console.print(f"[bold]{title}[/bold]")
    console.print(table)


def wait(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def precision_context(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context that the forward pass runs in."""
    return nullcontext() if precision == "fp32" else torch.autocast(device, dtype=torch.bfloat16)


def precisions(device: str) -> tuple[list[Precision], str]:
    """Return the precisions worth measuring, and a sentence where one is left out.

    A GPU is measured in bfloat16, as it is used. A processor has units for it or emulates it, many times slower than
    float32: one product tells.
    """
    if device == "cuda":
        return ["bf16"], ""
    exact, coarse = (_product_milliseconds(kind, 512) for kind in KINDS.values())
    if coarse <= exact:
        return ["fp32", "bf16"], ""
    return ["fp32"], (
        f"bf16 is left out: this processor has no units for it (a product of two 512 x 512 matrices takes "
        f"{coarse:.1f} ms in bf16, {exact:.1f} ms in fp32)"
    )


def matrix_rate(device: str, precision: Precision, size: int | None = None) -> float:
    """Return the floating-point operations a second that one large matrix product reaches."""
    size = size or (8192 if device == "cuda" else 1536)
    return 2 * size**3 / (_product_milliseconds(KINDS[precision], size, device) / 1000)


def _product_milliseconds(kind: torch.dtype, size: int, device: str = "cpu") -> float:
    left, right = (torch.ones(size, size, dtype=kind, device=device) for _ in range(2))
    left @ right
    return statistics.median(milliseconds(lambda: left @ right, device) for _ in range(5))


def operations(work: Work) -> int:
    """Return the floating-point operations of one call, its backward pass included: matrix products and attention."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


def peak_bytes(work: Work) -> int | None:
    """Return the most memory in use on the GPU during one call; None without one."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a forward pass leaves in memory for the backward pass, in bytes.

    Attributes:
        saved: of the distinct storages that autograd saved; what was there before the pass (parameters, constants, the
            images) does not count.
        held: of all storages that the pass made and that are still alive at its end, saved through autograd or held in
            any other way: nothing hides from this one.
    """

    saved: int
    held: int


def kept_bytes(forward: Callable[[], Tensor]) -> Kept:
    """Run a forward pass and count what it keeps for the backward pass."""
    there = _all_tensors()  # kept alive meanwhile, so that no new storage takes the place of an old one
    known = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in there}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if (key := StorageWeakRef(storage).cdata) not in known:
            saved[key] = storage.nbytes()
        return tensor.detach()  # an output that its own graph held with its history would never be let go

    made = _Made()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), made:
        loss = forward()
    held = sum(size for key, (storage, size) in made.storages.items() if key not in known and not storage.expired())
    del loss, there
    return Kept(saved=sum(saved.values()), held=held)


class _Made(TorchDispatchMode):
    """Notes every storage that comes out of an operation, without keeping it alive."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (whatever the operation gives)
        del types
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                storage = result.untyped_storage()
                reference = StorageWeakRef(storage)
                self.storages.setdefault(reference.cdata, (reference, storage.nbytes()))
        return results


def _all_tensors() -> list[Tensor]:
    # The class itself is asked: `isinstance` would wake lazy modules that pretend to be something else.
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
