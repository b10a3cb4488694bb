"""Counted operations are the published ones: 35.12 GFLOPs for ViT-B/16, 70 for two passes; nothing is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lorastream.analyses.efficiency import (
    TWO_PASSES,
    floating_operations,
    reference_operations,
    stored_numbers,
    with_all_tokens,
)
from lorastream.backbones.backbone import Backbone


def test_vit_b_16_takes_what_the_paper_says() -> None:
    patches, width, tokens = 196, 768, 197
    block = 2 * tokens * width * width * (3 + 1 + 4 + 4) + 2 * 2 * tokens * tokens * width
    counted = reference_operations()
    assert counted == 2 * patches * (3 * 16 * 16) * width + 12 * block
    assert counted / 1e9 == pytest.approx(35.12, abs=0.01)
    assert TWO_PASSES[0] - 0.2 < 2 * counted / 1e9 < TWO_PASSES[1]


def test_a_product_counts_two_for_each_entry_of_its_weight() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    assert floating_operations(network, 4) == 2 * 48 * 5
    assert network[1].weight.device.type == "cpu", "the network itself is left alone"


def test_the_last_block_of_the_class_token_alone_takes_less(tiny_backbone: Callable[[], Backbone]) -> None:
    network = tiny_backbone().network
    tokens, width, hidden = 5, 32, 64
    for_others = (tokens - 1) * (2 * width * width + 2 * 2 * width * hidden + 2 * 2 * tokens * width)
    assert floating_operations(with_all_tokens(network), 16) - floating_operations(network, 16) == for_others


def test_what_stands_for_past_images_is_told_from_the_rest() -> None:
    parts = {
        "statistics": {"means": torch.zeros(4, 3)},
        "method": {"protected_/a": torch.zeros(5, 2), "free_/b": torch.zeros(6), "magnitudes_": torch.zeros(7)},
        "head": {"weight": torch.zeros(100)},
    }
    assert stored_numbers(parts) == (12 + 10 + 6, 7)
    assert stored_numbers({}) == (0, 0)
