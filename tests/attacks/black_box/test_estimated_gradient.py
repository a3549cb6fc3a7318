"""The estimate against the gradient that it estimates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.black_box import EstimatedGradient
from immunize.attacks.victim import Best, Victim
from immunize.batch import Batch
from immunize.models import Clip
from immunize.objectives import Bank
from immunize.rng import keys, normal
from immunize.threats import Ball, Waveform

Estimator = Literal["nes", "spsa"]


def rng() -> Generator:
    return Generator().manual_seed(0)


def estimate(model: Any, batch: Batch, estimator: Estimator, directions: int) -> tuple[Tensor, Tensor]:
    """The estimate of d value / dx at the clean images, and the gradient itself."""
    attack = EstimatedGradient(Ball("l2", 50.0), estimator=estimator, directions=directions, sigma=0.001)
    with Victim.of(model, batch, "away") as victim:
        x = victim.clean.clone().requires_grad_()
        exact = victim.gradient(victim.judge(x, victim.all).value, x, victim.all)
        u = attack._draw(0, victim.keys, directions, victim.clean)
        return attack._estimate(victim, Best(victim.clean), victim.clean, u, victim.all), exact


@pytest.mark.parametrize("estimator", ["nes", "spsa"])
def test_it_converges_to_the_gradient(linear: Any, squares: Batch, estimator: Estimator) -> None:
    """On a linear model both estimators are unbiased, the error falling with the square root of the directions."""
    errors = []
    for directions in (100, 1600):
        found, exact = estimate(linear, squares, estimator, directions)
        errors.append(((found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).mean().item())
    assert errors[1] < 0.25 and errors[0] / errors[1] == pytest.approx(4, rel=0.35)


def test_by_hand_with_one_direction(linear: Any, squares: Batch) -> None:
    """u <u, g>, the difference quotient of a linear function being exact."""
    found, exact = estimate(linear, squares, "nes", 1)
    with Victim.of(linear, squares) as victim:
        u = normal(0, victim.keys, 48).view_as(exact)
    expected = u * (u * exact).flatten(1).sum(dim=1)[:, None, None, None]
    assert torch.allclose(found, expected, rtol=2e-2, atol=2e-2 * expected.abs().max().item())


def test_with_many_directions_it_is_pgd(linear: Any, squares: Batch) -> None:
    """The same steps, for images that own all texts and so are never fooled."""
    ball, found = Ball("l2", 0.5), []
    for attack in (
        PGD(ball, steps=4, random_start=False),
        EstimatedGradient(ball, queries=4 * 2001 + 1, directions=1000, momentum=0.0, sigma=0.001),
    ):
        with Victim.of(linear, squares, "away") as victim:
            victim.bank = replace(victim.bank, own=torch.ones_like(victim.bank.own))
            start = victim.query(victim.clean, victim.all).value
            found.append(attack.search(victim, 0).value - start)
    assert ((found[1] / found[0]) > 0.95).all() and ((found[1] / found[0]) < 1 + 1e-3).all()


def test_more_queries_are_never_weaker(trained: Clip, batch: Batch) -> None:
    attack = EstimatedGradient(Ball("linf", 4 / 255), queries=52)
    few, many = (replace(attack, queries=n)(trained, batch, rng()).outcome for n in (52, 408))
    assert few is not None and many is not None
    assert (many.value >= few.value - 1e-5)[~few.success].all() and (many.value > few.value + 0.1).any()


def test_sound() -> None:
    """A waveform in decibels, through the same loop."""
    clean = 0.5 * torch.sin(torch.linspace(0, 30, 200))[None, None] * torch.tensor([1.0, 0.1]).view(2, 1, 1)
    weight = torch.randn(2, 200, generator=rng())

    def value(embedding: Tensor, bank: Any) -> Tensor:
        return embedding[:, 0]

    bank = Bank(torch.eye(2), torch.ones(2, 2, dtype=torch.bool), torch.tensor(1.0))
    victim = Victim(lambda x: x.flatten(1) @ weight.T, clean, bank, keys(["a", "b"]), value)
    best = EstimatedGradient(Waveform(-20.0), queries=600, sigma=0.001).search(victim, 0)
    loudest = (best.x - clean).abs().amax(dim=(1, 2)) / clean.abs().amax(dim=(1, 2))
    reached = (best.value - clean.flatten(1) @ weight[0]) / (0.1 * clean.abs().amax(dim=(1, 2)) * weight[0].abs().sum())
    assert (loudest <= 0.1 + 1e-4).all() and (reached > 0.6).all()
