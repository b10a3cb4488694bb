"""What a task under way has come to, packed so that it can be gone on with to the same bytes.

Everything random here is named and stateless (`randomness.Randomness`): which images make a batch, how each is
augmented, which entries dropout leaves out follow from seed, task, epoch and step. So no generator has a state to be
kept, and the place in the data is two numbers.

Nor is anything kept that `before_task` makes: on resuming, the model is put back to what it was before the task, grows
and is prepared again, and what the steps changed is laid over: the parameters that learn and the live factors, the
method's learnt tensors, the optimiser's, the sums of the epoch. A method therefore resumes where what it learns is in
fields whose names end in `_`, as for saving, and what else it holds follows from `before_task`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lorastream.adapters import Adapter
from lorastream.errors import CheckpointError
from lorastream.methods.protocol import Method, learnt_state, load_learnt_state
from lorastream.model import IncrementalClassifier
from lorastream.training.events import EpochDone
from lorastream.training.states import State, States

COST = 0.01
"""Part of the time that writing states within an epoch may take, where nothing was said."""
_FIRST, _OFTEN = 30.0, 10.0  # seconds before the first state within an epoch, and between two at least


@dataclass(kw_only=True)
class Progress:
    """Where a task under way stands; all that it is, besides tensors.

    Attributes:
        epoch: that is under way, from 0; `epochs` of the settings once all are done.
        step: steps done in it.
        accumulation: micro-batches that a batch is cut into.
        skipped: batches left out so far.
        seconds: that earlier sittings spent on the task.
        epochs: that are done.
        notes: what is to be told of the task.
        scaler: the state of fp16's loss scale; empty in other precisions.
    """

    epoch: int = 0
    step: int = 0
    accumulation: int = 1
    skipped: int = 0
    seconds: float = 0.0
    epochs: list[EpochDone] = field(default_factory=list[EpochDone])
    notes: list[str] = field(default_factory=list[str])
    scaler: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_facts(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Progress:
        """Take what `to_facts` gave, among other facts."""
        own: dict[str, Any] = {f.name: facts[f.name] for f in fields(cls)}
        own["epochs"] = [EpochDone(**epoch) for epoch in own["epochs"]]
        return cls(**own)


class Keeper:
    """Keeps the states of one task.

    Args:
        states: of the run; of the main process alone does it write there.
        task: the state that the task began with; None where another process writes.
        progress: the state to go on from; None: from the task's beginning.
        every: steps between two states; 0: none within an epoch; None: as often as costs a hundredth of the time.
        index: of the task, for those who read the state.
    """

    def __init__(
        self,
        states: States,
        task: State | None,
        *,
        progress: State | None = None,
        every: int | None = None,
        index: int = 0,
    ) -> None:
        self.states, self.task, self.progress, self.every, self.index = states, task, progress, every, index
        self.kept = "the beginning of the task" if progress is None else progress.path.name
        self._steps = 0
        self._next = time.perf_counter() + _FIRST

    def due(self, *, alone: bool) -> bool:
        """Whether a step after which it is asked should be kept.

        Args:
            alone: whether one process works; several have clocks of their own and go by steps alone.
        """
        self._steps += 1
        if self.every is None:
            return alone and time.perf_counter() > self._next
        return self.every > 0 and self._steps % self.every == 0

    def keep(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Write what the task has come to.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        begun = time.perf_counter()
        facts = {**progress.to_facts(), "index": self.index}
        if self.task is not None:
            self.kept = self.states.write_progress(self.task, facts, tensors).path.name
        now = time.perf_counter()
        self._next = now + max(_OFTEN, (now - begun) / COST)


def whole(model: IncrementalClassifier, method: Method) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return all that is known between two tasks, as facts and tensors of a state."""
    parts = {**model.tensors(), "method": learnt_state(method)}
    facts = {
        "index": len(model.task_sizes),
        "classes": model.classes,
        "adapters": {"targets": list(model.adapted), "first_blocks": model.first_blocks},
    }
    return facts, {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def put_back(model: IncrementalClassifier, method: Method, state: State) -> None:
    """Make a model that knows nothing yet, and its method, what they were between two tasks."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = tensor
    if state.facts["classes"]:
        model.load_tensors(parts, state.facts["classes"], **state.facts["adapters"])
    load_learnt_state(method, {name: tensor.to(model.device) for name, tensor in parts.get("method", {}).items()})


def packed(
    model: IncrementalClassifier, method: Method, optimiser: torch.optim.Optimizer, sums: Tensor
) -> dict[str, Tensor]:
    """Return the tensors that the steps of a task have changed."""
    found = {f"model/{name}": p for name, p in _changing(model).items()}
    found |= {f"method/{name}": tensor for name, tensor in learnt_state(method).items()}
    for number, state in optimiser.state_dict()["state"].items():
        found |= {
            f"optimiser/{number}/{key}": torch.as_tensor(value) for key, value in state.items() if value is not None
        }
    return {**found, "sums": sums}


def lay_over(
    model: IncrementalClassifier, method: Method, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Lay what `packed` gave over a model that was prepared for the task anew; return the sums of the epoch.

    Raises:
        CheckpointError: the state is that of another network or of other settings.
    """
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "method": {}, "optimiser": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = tensor
    changing = _changing(model)
    expected = {name: tuple(p.shape) for name, p in changing.items()}
    got = {name: tuple(tensor.shape) for name, tensor in parts["model"].items()}
    if expected != got:
        raise CheckpointError(
            "the state of a task under way",
            expected=f"{len(expected)} tensors that learn, of the shapes of this model's",
            got=f"{len(got)}, of which {len(set(got.items()) & set(expected.items()))} agree",
            next_step="resume with the settings and the release that the run began with, or begin anew",
        )
    with torch.no_grad():
        for name, parameter in changing.items():
            parameter.copy_(parts["model"][name])
    _lay_over_method(method, parts["method"], model.device)
    _lay_over_optimiser(optimiser, parts["optimiser"])
    return tensors["sums"]


def scaler_facts(accelerator: Accelerator) -> dict[str, Any]:
    """Return the state of fp16's loss scale; none in other precisions."""
    scaler = accelerator.scaler
    return {} if scaler is None else cast("dict[str, Any]", scaler.state_dict())


def _changing(model: IncrementalClassifier) -> dict[str, nn.Parameter]:
    """Return by name what may differ from step to step: what learns, and live factors that were designed."""
    live = {id(p) for module in model.modules() if isinstance(module, Adapter) for p in module.parameters()}
    return {name: p for name, p in model.named_parameters() if p.requires_grad or id(p) in live}


def _lay_over_method(method: Method, kept: Mapping[str, Tensor], device: torch.device) -> None:
    """Give a method its learnt tensors; a parameter stays the one that the optimiser and the adapters know."""
    parameters = {
        f.name: value
        for f in fields(method)
        if f.name.endswith("_") and isinstance(value := getattr(method, f.name), nn.Parameter)
    }
    load_learnt_state(method, {name: tensor.to(device) for name, tensor in kept.items()})
    with torch.no_grad():
        for name, parameter in parameters.items():
            if name in kept:
                parameter.copy_(kept[name])
            setattr(method, name, parameter)


def _lay_over_optimiser(optimiser: torch.optim.Optimizer, kept: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in kept.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
