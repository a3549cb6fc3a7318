"""Under autocast the towers may compute in bf16; what is made of their embeddings may not."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from immunize.objectives import OBJECTIVES, Bank, Name, infonce, triplet


def unit(count: int, seed: int) -> Tensor:
    return normalize(torch.randn(count, 16, generator=Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_attacks_objective_is_float32_with_its_gradient(name: Name) -> None:
    image, text, scale = unit(6, 0).requires_grad_(), unit(6, 1), torch.tensor(100.0)
    bank = Bank(text, torch.eye(6, dtype=torch.bool), scale)
    expected = OBJECTIVES[name](image, bank)
    (slope,) = torch.autograd.grad(expected.sum(), image)
    with torch.autocast("cpu", torch.bfloat16):
        assert (image @ text.T).dtype == torch.bfloat16
        found = OBJECTIVES[name](image, bank)
    (again,) = torch.autograd.grad(found.sum(), image)
    assert torch.equal(found, expected) and torch.equal(again, slope)


def test_a_loss_is_float32() -> None:
    image, text, owner = unit(6, 0), unit(6, 1), torch.arange(6)
    expected = infonce(image, text, owner, torch.tensor(100.0)), triplet(image, text, owner, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        found = infonce(image, text, owner, torch.tensor(100.0)), triplet(image, text, owner, 0.2)
    assert all(map(torch.equal, expected, found))
