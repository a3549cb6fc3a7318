"""FAB: its projection against a bisection, its distance where the boundary is a plane, its costs."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Literal

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.image import FAB
from immunize.attacks.image.fab import _onto
from immunize.attacks.victim import Victim
from immunize.batch import Batch
from immunize.models import Clip
from immunize.objectives import Bank
from immunize.threats import Ball

Norm = Literal["linf", "l2"]
BOTH = pytest.mark.parametrize("norm", ["linf", "l2"])


def rng() -> Generator:
    return Generator().manual_seed(0)


def planes(examples: int = 6) -> Victim:
    """Two texts and a linear tower: the boundary of each example is one plane."""
    gen = rng()
    clean = 0.3 + 0.4 * torch.rand(examples, 3, 4, 4, generator=gen)
    weight = torch.randn(48, 2, generator=gen)
    own = torch.nn.functional.one_hot((clean.flatten(1) @ weight).argmax(dim=1), 2).bool()
    return Victim(
        lambda x: x.flatten(1) @ weight, clean, Bank(torch.eye(2), own, torch.tensor(1.0)), torch.arange(examples)
    )


def bisected(x: Tensor, w: Tensor, rise: float, even: bool) -> Tensor:
    """The multiplier found by halving an interval, in double precision."""
    x, w = x.double(), w.double() * (1 if rise >= 0 else -1)
    room = torch.where(w > 0, 1 - x, x)

    def moved(s: float) -> Tensor:
        return torch.minimum(s * (torch.ones_like(w) if even else w.abs()), room)

    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (moved(middle) * w.abs()).sum() < abs(rise) else (low, middle)
    return x + w.sign() * moved(high)


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.8, 0.98])
def test_the_projection_on_plane_and_box(even: bool, share: float) -> None:
    gen = rng()
    x, w = torch.rand(4, 3, 5, 5, generator=gen), torch.randn(4, 3, 5, 5, generator=gen)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0])
    room = torch.where(w * sign.view(4, 1, 1, 1) > 0, 1 - x, x)
    rise = sign * share * (room * w.abs()).flatten(1).sum(dim=1)
    z = _onto(x, w, rise, even)
    assert z.min() >= 0 and z.max() <= 1
    assert torch.allclose((w * (z - x)).flatten(1).sum(dim=1), rise, rtol=2e-2)
    for i in range(4):
        expected = bisected(x[i], w[i], rise[i].item(), even)
        assert torch.allclose(z[i].double(), expected, atol=2e-2), (z[i] - expected).abs().max()


def test_a_plane_out_of_reach_gives_the_corner_and_no_slope_gives_the_point() -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    w = torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]], [[[0.0] * 2] * 2]])
    for even in (True, False):
        z = _onto(x, w, torch.tensor([100.0, 1.0]), even)
        assert z[0].flatten().tolist() == [1.0, 0.0, 1.0, 0.5] and torch.equal(z[1], x[1])


@BOTH
def test_the_distance_to_a_plane(norm: Norm) -> None:
    """|f| / ||w||_1 in l_inf, |f| / ||w||_2 in l_2, the box being far away."""
    victim = planes()
    weight = victim.encode(torch.eye(48).view(48, 3, 4, 4))
    gap, w = (victim.encode(victim.clean) @ torch.tensor([1.0, -1.0])).abs(), weight @ torch.tensor([1.0, -1.0])
    expected = gap / w.norm(p=1 if norm == "linf" else 2)
    ball = Ball(norm, inf)
    best = FAB(ball, steps=10).search(victim, 0)
    assert best.success.all() and torch.allclose(ball.distance(best.x, victim.clean), expected, rtol=0.02)
    assert (ball.distance(best.x, victim.clean) > expected * 0.999).all()


@BOTH
def test_inside_the_ball_or_not_at_all(norm: Norm) -> None:
    victim = planes(20)
    distance = Ball(norm, inf).distance(FAB(Ball(norm, inf), steps=10).search(victim, 0).x, victim.clean)
    ball = Ball(norm, distance.median().item())
    best = FAB(ball, steps=10).search(planes(20), 0)
    assert torch.equal(best.success, distance <= ball.eps)
    assert (ball.distance(best.x, victim.clean) <= ball.eps + 1e-6).all()
    moved = ball.distance(best.x, victim.clean)[~best.success]
    assert torch.allclose(moved, torch.tensor(ball.eps), rtol=1e-3), "what failed is on the way to the boundary"


def test_the_costs(trained: Clip, batch: Batch) -> None:
    """One ranking, steps + 1 points a target; with early_stop nothing after the threat holds a fooling point."""
    attack = FAB(Ball("linf", inf), steps=5, targets=3)
    after = attack(trained, batch, rng())
    assert after.outcome is not None
    assert after.outcome.forwards.tolist() == [1 + 3 * 6] * 6 and after.outcome.backwards.tolist() == [15] * 6
    for ball in (Ball("linf", 0.5), Ball("linf", inf)):
        early = replace(attack, threat=ball, early_stop=True)(trained, batch, rng())
        assert early.outcome is not None and early.outcome.success.all() and (early.outcome.forwards < 19).all()


@BOTH
def test_more_work_is_never_farther(norm: Norm, trained: Clip, batch: Batch) -> None:
    ball = Ball(norm, inf)

    def distance(**settings: int) -> Tensor:
        """Of what fools; what does not is infinitely far, however near it lies."""
        attacked = FAB(ball, **{"steps": 5, "targets": 2, **settings})(trained, batch, rng())  # type: ignore[arg-type]
        assert attacked.outcome is not None
        return ball.distance(attacked.images, batch.images).masked_fill(~attacked.outcome.success, inf)

    least = distance()
    assert all((distance(**more) <= least).all() for more in ({"steps": 15}, {"restarts": 3}, {"targets": 5}))
    assert (distance(steps=15, restarts=3) < least).any()


def test_an_image_that_is_fooled_already_stays() -> None:
    victim = planes()
    victim.bank = replace(victim.bank, own=~victim.bank.own)
    assert torch.equal(FAB(Ball("l2", inf), steps=3).search(victim, 0).x, victim.clean)


def test_no_distance_to_the_boundary_in_l0() -> None:
    with pytest.raises(ValueError, match=r"^threat: "):
        FAB(Ball("l0", 5.0))
