"""The penalties of the `lora_sum` family on numbers that were worked out by hand, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from lorastream.linalg.penalties import (
    fisher_penalty,
    null_space_penalty,
    orthogonality_penalty,
    sparsity_penalty,
    squared_gradients,
)


def _tensor(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def test_o_lora_sums_the_absolute_inner_products_of_new_and_past_rows() -> None:
    """Rows (3, 4, 0) and (0, 1, -1) with (1, 0, 2): 3 and -2, so |3| + |-2| = 5, and 9 + 4 = 13 squared."""
    down, past = _tensor([[1, 0, 2]]), torch.tensor([[3.0, 4, 0], [0, 1, -1]], dtype=torch.float64)
    assert orthogonality_penalty(down, past).item() == 5
    assert orthogonality_penalty(down, past, squared=True).item() == 13
    (gradient,) = torch.autograd.grad(orthogonality_penalty(down, past), down)
    assert gradient.tolist() == [[3, 3, 1]]  # (3, 4, 0) - (0, 1, -1)


def test_n_lora_sums_the_absolute_entries_of_the_update_not_of_the_product_of_its_factors_the_other_way() -> None:
    """U = (1, -2)', D = (3, 0, -1): U D = ((3, 0, -1), (-6, 0, 2)), whose absolute entries sum to 12."""
    assert sparsity_penalty(_tensor([[1], [-2]]), _tensor([[3, 0, -1]])).item() == 12


def test_n_lora_lets_entries_cancel_before_their_absolute_values_are_taken() -> None:
    """Rank 2: (1, 1)'(1, 2) + (1, -1)'(1, -2) = ((2, 0), (0, 4)): 6, not 6 + 6."""
    assert sparsity_penalty(_tensor([[1, 1], [1, -1]]), _tensor([[1, 2], [1, -2]])).item() == 6


def test_clora_adds_what_the_update_reads_of_p_and_writes_along_q() -> None:
    """D = (3, 4) reads 3 of P = (1, 0)'; U = (1, 2)' writes 2 along Q = (0, 1)': 9 + 4 = 13."""
    in_basis, out_basis = _tensor([[1], [0]]), _tensor([[0], [1]])
    assert null_space_penalty(_tensor([[1], [2]]), _tensor([[3, 4]]), in_basis, out_basis).item() == 13


def test_ewc_lora_weighs_every_entry_of_the_update() -> None:
    """Squares ((9, 0, 1), (36, 0, 4)) by F = ((1, 2, 3), (0, 1, ½)): ½ (9 + 3 + 2) = 7."""
    fisher = torch.tensor([[1, 2, 3], [0, 1, 0.5]], dtype=torch.float64)
    up, down = _tensor([[1], [-2]]), _tensor([[3, 0, -1]])
    penalty = fisher_penalty(up, down, fisher)
    assert penalty.item() == 7
    gradient = torch.autograd.grad(penalty, up)[0]
    assert gradient.tolist() == [[12], [-1]]  # F * UD = ((3, 0, -3), (0, 0, 1)) times D': 9 + 3, -1


def test_tokens_are_summed_before_an_images_gradient_is_squared_and_images_after() -> None:
    """Image 1: 1·(1, 2) + 3·(0, 1) = (1, 5); image 2: 2·(1, 0) - 1·(1, 1) = (1, -1). Squares: (1, 25) + (1, 1)."""
    inputs = torch.tensor([[[1.0, 2], [0, 1]], [[1, 0], [1, 1]]], dtype=torch.float64)
    gradients = torch.tensor([[[1.0], [3]], [[2], [-1]]], dtype=torch.float64)
    assert squared_gradients(inputs, gradients).tolist() == [[2, 26]]
