"""The walk on a flat boundary, whose distance is known, and on verdicts alone."""

from __future__ import annotations

from math import inf
from typing import Any, Literal

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.black_box import HopSkipJump
from immunize.attacks.black_box.hop_skip_jump import _Walk
from immunize.attacks.victim import Judged, Victim
from immunize.objectives import Bank
from immunize.rng import keys
from immunize.threats import Ball

Norm = Literal["linf", "l2"]
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])


def rng() -> Generator:
    return Generator().manual_seed(0)


class Plane(Victim):
    """Fooled where <w, x - clean> > b: an affine classifier whose boundary is b / ||w||_q away."""

    def __init__(self) -> None:
        clean = 0.4 + 0.2 * torch.rand(4, 3, 8, 8, generator=rng())
        bank = Bank(torch.eye(2), torch.ones(4, 2, dtype=torch.bool), torch.tensor(1.0))
        Victim.__init__(self, lambda x: x.flatten(1)[:, :2], clean, bank, keys(["a", "b", "c", "d"]))
        self.weight = torch.randn(clean.shape, generator=rng()).flatten(1)
        self.offset = torch.tensor([0.3, 0.6, 0.9, 1.2])

    def judge(self, x: Tensor, rows: Tensor) -> Judged:
        self.embed(x, rows)
        value = ((x - self.clean[rows]).flatten(1) * self.weight[rows]).sum(dim=1) - self.offset[rows]
        return Judged(value, value > 0)


class Garbage(Plane):
    """The same verdicts with meaningless values."""

    def judge(self, x: Tensor, rows: Tensor) -> Judged:
        return Judged(torch.sin(1e4 * x.flatten(1).sum(dim=1)), Plane.judge(self, x, rows).success)


def reach(victim: Plane, norm: Norm) -> Tensor:
    return victim.offset / (victim.weight.norm(dim=1) if norm == "l2" else victim.weight.abs().sum(dim=1))


@NORMS
def test_it_finds_the_distance_of_a_plane(norm: Norm) -> None:
    """Within a tenth of the boundary's distance, which no fooling point can be below."""
    ball, victim = Ball(norm, inf), Plane()
    best = HopSkipJump(ball, queries=12_000, directions=100).search(victim, 0)
    ratio = ball.distance(best.x, victim.clean) / reach(victim, norm)
    assert (ratio > 1 - 1e-3).all() and (ratio < 1.1).all()


@NORMS
def test_values_are_not_looked_at(norm: Norm) -> None:
    attack = HopSkipJump(Ball(norm, inf), queries=400, directions=20)
    assert torch.equal(attack.search(Garbage(), 0).x, attack.search(Plane(), 0).x)


@NORMS
def test_a_ball_that_holds_a_fooling_point_is_enough(norm: Norm) -> None:
    """Twice the boundary's distance: fooled inside, with queries left over; half of it: projected, and said so."""
    victim, first = Plane(), float(reach(Plane(), norm)[0])
    best = HopSkipJump(Ball(norm, 2 * first), queries=4000).search(victim, 0)
    assert best.success.tolist() == [True, False, False, False] and victim.forwards[0] < 2000
    assert (Ball(norm, inf).distance(best.x, victim.clean) <= 2 * first + 1e-5).all()
    assert torch.allclose(Ball(norm, inf).distance(best.x, victim.clean), torch.tensor(2 * first), rtol=1e-3)


def test_an_image_that_is_fooled_already_stays() -> None:
    victim = Plane()
    victim.offset[1] = -1.0
    best = HopSkipJump(Ball("l2", 1.0), queries=50).search(victim, 0)
    assert torch.equal(best.x[1], victim.clean[1]) and best.success[1] and victim.forwards[1] == 2


def test_the_normal_of_the_plane() -> None:
    """The estimate at a boundary point against the plane's own normal."""
    victim: Any = Plane()
    walk = _Walk(Ball("l2", inf), victim, victim.all, 10**6, 0)
    shift = victim.offset / victim.weight.norm(dim=1).square()
    x = victim.clean + (victim.weight * shift[:, None]).view_as(victim.clean)
    found = walk.normal(x, 1, 4000).flatten(1)
    assert (torch.cosine_similarity(found, victim.weight) > 0.9).all()


def test_no_threat_but_a_ball_of_dense_changes() -> None:
    with pytest.raises(ValueError, match="threat: HopSkipJump"):
        HopSkipJump(Ball("l0", 3.0))
