"""Distances of pairs against loops in plain Python."""

from __future__ import annotations

import pytest
import torch

from immunize.objectives import away, consistency

RNG = torch.Generator().manual_seed(0)
IMAGE = torch.nn.functional.normalize(torch.randn(3, 4, generator=RNG), dim=1)
TEXT = torch.nn.functional.normalize(torch.randn(5, 4, generator=RNG), dim=1)
OWNER = torch.tensor([0, 0, 1, 2, 2])
ONE = torch.tensor(1.0)


def test_against_a_loop() -> None:
    pairs = [(IMAGE[o].tolist(), TEXT[c].tolist()) for c, o in enumerate(OWNER.tolist())]
    squared = [sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) for pair in pairs]
    cosine = [sum(a * b for a, b in zip(*pair, strict=True)) for pair in pairs]
    assert consistency(IMAGE, TEXT, OWNER, ONE).tolist() == pytest.approx(squared, abs=1e-6)
    assert away(IMAGE, TEXT, OWNER, ONE).tolist() == pytest.approx([-c for c in cosine], abs=1e-6)


def test_on_unit_vectors_both_say_the_same() -> None:
    assert torch.allclose(consistency(IMAGE, TEXT, OWNER, ONE), 2 + 2 * away(IMAGE, TEXT, OWNER, ONE), atol=1e-6)


def test_the_scale_does_not_matter() -> None:
    for objective in (consistency, away):
        assert torch.equal(objective(IMAGE, TEXT, OWNER, ONE), objective(IMAGE, TEXT, OWNER, torch.tensor(50.0)))
