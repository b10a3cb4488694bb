"""A generator that always begins alike, and scalings that learn."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest
import torch
from torch import Tensor, nn

from lorastream.adapters import Adapter


class Learning:
    """A magnitude for each update, in a form that a method might choose.

    Args:
        values: `[tasks]`.
        form: from an adapter and its magnitudes to one scale for each update, `[tasks]`.
    """

    def __init__(self, values: Tensor, form: Callable[[Adapter, Tensor], Tensor]) -> None:
        self.values = nn.Parameter(values)
        self.form = form

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return (self.values,)

    def __call__(self, adapter: Adapter) -> Tensor:
        return self.form(adapter, self.values).repeat_interleave(torch.tensor(adapter.ranks))


@pytest.fixture(autouse=True)
def _same_weights() -> Generator[None]:
    """Every test draws the same initial weights, whichever tests ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


@pytest.fixture
def learning() -> type[Learning]:
    return Learning


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)
