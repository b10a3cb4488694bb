"""Read a state dict from a file, never unpickling code, and put it into a network, strictly."""

from __future__ import annotations

# For its error alone: nothing is loaded with it.
import pickle  # nosec B403
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lorastream.errors import BackboneError

NESTED = ("state_dict", "model", "model_state_dict", "module")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read weights from safetensors or from a plain state dict (`weights_only`); half precision is cast up to float32.

    Raises:
        BackboneError: the file is neither, or torn.
    """
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch has no list of what it raises on a file that is torn or not its own
        raise BackboneError(
            f"backbone.weights, {path}",
            expected="a safetensors file, or a state dict that torch reads with weights_only",
            got=_reason(error),
            next_step="save the weights again: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
        ) from error
    for key in NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise BackboneError(
            f"backbone.weights, {path}",
            expected="names with tensors",
            got=type(loaded).__name__,
            next_step="save the state dict, not the model",
        )
    tensors = {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "a pickle of other things than tensors (which could run code), or no such file at all"
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def check_fits(network: nn.Module, state: Mapping[str, Tensor], *, where: str, ignore: tuple[str, ...] = ()) -> None:
    """Compare names and shapes before anything is loaded.

    Args:
        network: what the weights are for.
        state: the weights.
        where: the file or name, for the message.
        ignore: prefixes of names that may be there or not: the classifier that is not used.

    Raises:
        BackboneError: names are missing or left over, or shapes differ.
    """
    own = network.state_dict()
    state = {name: tensor for name, tensor in state.items() if not name.startswith(ignore)} if ignore else state
    wrong = [
        f"{n} is {tuple(state[n].shape)}, not {tuple(own[n].shape)}"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    missing = [name for name in own if name not in state]
    extra = [name for name in state if name not in own]
    if wrong or missing or extra:
        parts = [f"{len(missing)} missing ({missing[0]}, ...)"] if missing else []
        parts += [f"{len(extra)} left over ({extra[0]}, ...)"] if extra else []
        parts += [f"{len(wrong)} of another shape ({wrong[0]})"] if wrong else []
        raise BackboneError(
            where,
            expected=f"weights of {type(network).__name__} with {len(own)} tensors",
            got="; ".join(parts),
            next_step="give the file of this architecture, or the backbone's name that belongs to this file",
        )
