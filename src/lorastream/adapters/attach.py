"""Put adapters on the projections of a network, and take them off again."""

from __future__ import annotations

import fnmatch
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lorastream.adapters.adapted_linear import AdaptedLinear, Rows
from lorastream.adapters.low_rank import Adapter, ColumnScaling
from lorastream.errors import AdapterError


@dataclass(frozen=True)
class Target:
    """Which projections take updates, and on which of their output rows.

    Attributes:
        pattern: the linear layers by name, with `*` for any text: `blocks.*.attn.qkv`, `encoder.layer.*.query`.
        part: which of `parts` equal row slices: 0 is the query of a fused qkv projection, 1 the key, 2 the value.
        parts: the number of equal row slices in the weight: 3 for a fused qkv projection, 1 for a plain layer.
        name: what the adapter is called, unique on its layer; `part0`, `part1`, ... unless given.
    """

    pattern: str
    part: int = 0
    parts: int = 1
    name: str = ""

    @property
    def adapter_name(self) -> str:
        """The name given, or the part's."""
        return self.name or f"part{self.part}"


class Adapters:
    """All adapters of a network, handled together.

    Args:
        network: the module that they are attached to.
        layers: the adapted layers by their dotted name in the network.
    """

    def __init__(self, network: nn.Module, layers: dict[str, AdaptedLinear]) -> None:
        self.network = network
        self.layers = layers
        self.merged = False

    def __len__(self) -> int:
        return sum(len(layer.adapters) for layer in self.layers.values())

    def items(self) -> Iterator[tuple[str, Adapter]]:
        """Yield every adapter with its name, `layer/adapter`, in the order in which the targets name them."""
        for name, layer in self.layers.items():
            for part, adapter in layer.adapters.items():
                if isinstance(adapter, Adapter):
                    yield f"{name}/{part}", adapter

    def __iter__(self) -> Iterator[Adapter]:
        return (adapter for _, adapter in self.items())

    @property
    def ranks(self) -> list[int]:
        """The rank of every update so far, in order of arrival: the largest of all projections."""
        return [max(ranks) for ranks in zip(*(adapter.ranks for adapter in self), strict=True)]

    @property
    def live(self) -> bool:
        """Whether the newest update learns."""
        return any(adapter.live for adapter in self)

    def parameters(self) -> list[nn.Parameter]:
        """Return what learns: the live factors of all projections."""
        return [p for adapter in self for p in adapter.parameters() if p.requires_grad]

    def grow(
        self,
        rank: int,
        *,
        generator: torch.Generator,
        up_std: float = 0.0,
        downs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Append a live update to every projection, or to none; see `Adapter.grow`.

        Args:
            rank: 1 to the smallest width of the projections.
            generator: a CPU generator.
            up_std: standard deviation of `up` at the start.
            downs: for each adapter's name, as `items` yields it, the `down [rank, in]` that it takes and keeps.
        """
        for adapter in self:
            adapter.check_growth(rank)
        for name, adapter in self.items():
            down = None if downs is None else downs[name]
            adapter.grow(rank, generator=generator, up_std=up_std, down=down)

    def new_task(self, rank: int = 10, *, generator: torch.Generator | None = None) -> list[nn.Parameter]:
        """Freeze what is live and append a live update to every projection; the network's output does not change.

        Args:
            rank: 1 to the smallest width of the projections.
            generator: a CPU generator; by default torch's own, which `torch.manual_seed` sets.

        Returns:
            The parameters that learn now, for an optimiser.

        Raises:
            AdapterError: the rank is out of range, or the updates are merged.
        """
        self._check_attached("new_task")
        if self.live:
            self.freeze()
        self.grow(rank, generator=generator or torch.default_generator)
        return self.parameters()

    def freeze(self) -> None:
        """Make the live updates past ones and all scales constant; the network's output does not change."""
        for adapter in self:
            adapter.freeze()

    def fold(self) -> None:
        """Add the past updates of every projection into one constant term; see `Adapter.fold`."""
        for adapter in self:
            adapter.fold()

    def drop_newest(self) -> None:
        """Drop the newest past update of every projection."""
        for adapter in self:
            adapter.drop_newest()

    def mask(self, probability: float, *, generator: torch.Generator) -> None:
        """Draw new masks of LoRA dropout for the live update of every projection; see `Adapter.mask`."""
        for adapter in self:
            adapter.mask(probability, generator=generator)

    def thaw(self) -> None:
        """Let the newest update of every projection learn again."""
        for adapter in self:
            adapter.thaw()

    def clear(self) -> None:
        """Drop all updates of every projection: the network is the pretrained one again."""
        for adapter in self:
            adapter.clear()

    def scale_by(self, scaling: ColumnScaling | None) -> None:
        """Let `scaling` compute the scale of every column from now on, until `freeze`."""
        for adapter in self:
            adapter.scaling = scaling

    @contextmanager
    def unchanged(self) -> Generator[None]:
        """Promise that no factor, scale or mask changes as long as the context lasts.

        Several backward passes, as those of micro-batches, then share one composed weight.
        """
        for layer in self.layers.values():
            layer.unchanged = True
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.unchanged = False
                layer.may_have_changed()

    @contextmanager
    def left_out(self) -> Generator[None]:
        """Let the network be the one without updates as long as the context lasts.

        Raises:
            AdapterError: they are merged, and cannot be told from the weights.
        """
        self._check_attached("left_out")
        for layer in self.layers.values():
            layer.left_out = True
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.left_out = False

    def merge(self) -> None:
        """Replace every adapted layer by a plain linear layer with the updates added; `unmerge` undoes it exactly.

        Raises:
            AdapterError: they are merged already.
        """
        self._check_attached("merge")
        for name, layer in self.layers.items():
            _replace(self.network, name, layer.merged_linear())
        self.merged = True

    def unmerge(self) -> None:
        """Put the adapted layers back as they were, bit for bit; does nothing where nothing is merged."""
        if self.merged:
            for name, layer in self.layers.items():
                _replace(self.network, name, layer)
        self.merged = False

    def _check_attached(self, verb: str) -> None:
        if self.merged:
            raise AdapterError(
                f"adapters.{verb}", expected="adapters", got="they are merged already", next_step="call unmerge() first"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that the adapters hold, by name, for saving.

        Of each `down`, `up`, `scale`, `ranks` (int64 `[updates]`) and, where updates were folded, `folded`.
        """
        found: dict[str, Tensor] = {}
        for name, adapter in self.items():
            found[f"{name}/ranks"] = torch.tensor(adapter.ranks, dtype=torch.int64)
            if len(adapter.folded):
                found[f"{name}/folded"] = adapter.folded
            up, down = zip(*adapter.factors(), strict=True) if adapter.ranks else ((), ())
            found[f"{name}/up"] = torch.cat(up, dim=1) if up else adapter.up_stack
            found[f"{name}/down"] = torch.cat(down, dim=0) if down else adapter.down_stack
            found[f"{name}/scale"] = adapter.column_scale().detach()
        return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `tensors` gave; nothing is live afterwards.

        Raises:
            AdapterError: a projection is missing or of another shape.
        """
        for name, adapter in self.items():
            if f"{name}/up" not in tensors:
                raise AdapterError(
                    "the stored adapters",
                    expected=f"updates for '{name}'",
                    got=f"{len(tensors)} tensors, none of them for it",
                    next_step="load the model with the backbone and targets it was made with",
                )
            up, down, scale, ranks = (tensors[f"{name}/{part}"] for part in ("up", "down", "scale", "ranks"))
            adapter.load(up, down, scale, ranks.tolist(), tensors.get(f"{name}/folded"))


def attach(network: nn.Module, targets: Sequence[Target | str] | Target | str) -> Adapters:
    """Make every projection that a target names take low-rank updates; nothing is computed differently yet.

    The weights of the projections stop learning. Everything else is left as it is.

    Args:
        network: any module; its linear layers that match are replaced in place.
        targets: which, one or several; a text is the pattern of whole layers, such as `"*.fc1"`.

    Raises:
        AdapterError: a pattern matches no linear layer, the rows do not divide, or a layer is adapted already.
    """
    rows: dict[str, dict[str, Rows]] = {}
    several = [targets] if isinstance(targets, Target | str) else targets
    for target in [Target(given) if isinstance(given, str) else given for given in several]:
        for name, layer in _matching(network, target):
            taken = rows.setdefault(name, {})
            taken[target.adapter_name] = _rows(name, layer, target, taken)
    layers: dict[str, AdaptedLinear] = {}
    for name, parts in rows.items():
        base = network.get_submodule(name)
        if isinstance(base, nn.Linear):
            base.requires_grad_(requires_grad=False)
            layers[name] = AdaptedLinear(base, parts)
            _replace(network, name, layers[name])
    return Adapters(network, layers)


def layer_of(adapter: str) -> str:
    """Return the name of the layer that an adapter is on, of its name `layer/adapter`."""
    return adapter.rpartition("/")[0]


def _matching(network: nn.Module, target: Target) -> list[tuple[str, nn.Linear]]:
    adapted = [name for name, module in network.named_modules() if isinstance(module, AdaptedLinear)]
    again = [name for name in adapted if fnmatch.fnmatchcase(name, target.pattern)]
    if again:
        raise AdapterError(
            f"attach, {again[0]}",
            expected="a layer without adapters",
            got=f"one that is adapted already, matched by {target.pattern!r}",
            next_step="attach all targets at once, or write a pattern that leaves this layer out",
        )
    inside = tuple(f"{name}." for name in adapted)
    linear = {
        name: module
        for name, module in network.named_modules()
        if name and isinstance(module, nn.Linear) and not name.startswith(inside)
    }
    found = [(name, module) for name, module in linear.items() if fnmatch.fnmatchcase(name, target.pattern)]
    if not found:
        raise AdapterError(
            "attach, pattern",
            expected="a pattern that matches linear layers such as "
            + (", ".join(list(linear)[:4]) or "(there are none)"),
            got=repr(target.pattern),
            next_step="list the layers with `[name for name, _ in network.named_modules()]`",
        )
    return found


def _rows(name: str, layer: nn.Linear, target: Target, taken: dict[str, Rows]) -> Rows:
    if target.parts < 1 or layer.out_features % target.parts or not 0 <= target.part < target.parts:
        raise AdapterError(
            f"attach, {name}",
            expected=f"a part below the number of parts, and parts that divide the layer's {layer.out_features} rows",
            got=f"part {target.part} of {target.parts}",
            next_step="give `parts=3` for a fused qkv weight, `parts=1` for a plain layer",
        )
    size = layer.out_features // target.parts
    rows = Rows(target.part * size, (target.part + 1) * size)
    if any(rows.first < other.last and other.first < rows.last for other in taken.values()):
        raise AdapterError(
            f"attach, {name}",
            expected="one adapter for each output row",
            got=f"rows {rows.first} to {rows.last - 1} twice",
            next_step="remove one of the targets that match this layer",
        )
    if target.adapter_name in taken:
        raise AdapterError(
            f"attach, {name}",
            expected="another name for each adapter of a layer",
            got=f"{target.adapter_name!r} twice",
            next_step="remove one of the targets that match this layer, or give each its own name",
        )
    return rows


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, layer)
