"""A frozen backbone that is too large for one card: each process keeps a part of every block, by FSDP2.

A block's weights are put together when it runs and let go afterwards (`torch.distributed.fsdp.fully_shard`), so a card
holds its part and one block at a time. What is adapted stays whole on every process: the composed weight is made of the
whole frozen one at every step and again when it is merged, so its parts would have to be put together in any case, and
outside of the block's own pass too. With query and value of a fused projection that is a quarter of a block.

Every pass is now work for all: a process whose part of a batch is empty runs on no image (`model.keep_company`).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from lorastream import processes
from lorastream.errors import RecipeError
from lorastream.methods.protocol import Method
from lorastream.model import IncrementalClassifier
from lorastream.training.settings import TrainingSettings


def check_shardable(settings: TrainingSettings, method: Method, name: str) -> None:
    """See that the backbone may be in parts where the settings say so.

    Raises:
        RecipeError: the method trains the backbone's own weights, or prompts enter it, or passes are compiled.
    """
    if not settings.shard_backbone:
        return
    if not method.traits.freezes_backbone:
        got = f"{name}, which trains the backbone's own weights"
    elif method.traits.prompted:
        got = f"{name}, whose prompts enter blocks that every process must hold whole"
    elif settings.compile:
        got = "training.compile=true as well, which was never tried with it"
    else:
        return
    raise RecipeError(
        "training.shard_backbone",
        expected="a method that leaves the backbone frozen, and passes that are not compiled",
        got=got,
        next_step="leave training.shard_backbone out",
    )


def shard_backbone(model: IncrementalClassifier, method: Method, device: torch.device) -> None:
    """Leave on this process its part of the backbone's blocks, on its device; alone, everything stays as it is.

    Args:
        model: not on the device yet; that which the method adapts is adapted now, and stays whole.
        method: whose `targets` and `blocks` say what that is.
        device: of this process.
    """
    count = processes.shard()[1]
    if count == 1:
        return
    targets = getattr(method, "targets", ())
    if targets:
        model.adapt(targets, first_blocks=getattr(method, "blocks", None))
    network = model.backbone.network
    blocks = _blocks(network)
    adapted = {p for layer in model.adapters.layers.values() for p in layer.parameters()} if targets else set()
    inside = {p for block in blocks for p in block.parameters()}
    mesh = init_device_mesh(device.type, (count,))
    for block in blocks:
        fully_shard(block, mesh=mesh, ignored_params=adapted)
    # The whole is the root, which fetches a block ahead; what lies outside of blocks is little, and stays whole.
    fully_shard(model.backbone, mesh=mesh, ignored_params=adapted | (set(network.parameters()) - inside))
    model.backbone.sharded = True


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Return the modules of the longest row of modules alike: a transformer's blocks."""
    rows = [list(m.children()) for m in network.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    return max(rows, key=len, default=[])
