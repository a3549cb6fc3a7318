"""What every black box promises: no query beyond the budget, none after an image is fooled, and no more than a white box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.black_box import EstimatedGradient, Genetic, HopSkipJump, OnePixel, Square, population
from immunize.attacks.victim import Judged, Victim
from immunize.batch import Batch
from immunize.models import Clip
from immunize.objectives import Bank
from immunize.rng import keys
from immunize.threats import Ball

LINF, L2, L0 = Ball("linf", 8 / 255), Ball("l2", 1.0), Ball("l0", 3.0)
ATTACKS = [
    Square(LINF),
    Square(L2),
    EstimatedGradient(LINF, directions=4),
    EstimatedGradient(L2, directions=4, estimator="spsa"),
    HopSkipJump(LINF, directions=8),
    HopSkipJump(L2, directions=8),
    Genetic(LINF, population=5),
    OnePixel(L0, population=6),
]
EVERY = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.kind} {attack.threat.norm}")


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


class Stub(Victim):
    """A victim whose verdicts and values are made up; it keeps what it was asked."""

    def __init__(self, verdict: Callable[[Tensor, Tensor], Judged], images: int = 5) -> None:
        clean = 0.2 + 0.6 * torch.rand(images, 3, 12, 12, generator=rng())
        bank = Bank(torch.eye(2), torch.ones(images, 2, dtype=torch.bool), torch.tensor(1.0))
        Victim.__init__(self, lambda x: x.flatten(1)[:, :2], clean, bank, keys([str(i) for i in range(images)]))
        self.verdict = verdict
        self.seen: list[Tensor] = []

    def judge(self, x: Tensor, rows: Tensor) -> Judged:
        assert len(x), "a pass for nothing"
        self.embed(x, rows)
        self.seen.append(x.clone())
        return self.verdict(x, rows)


def never(x: Tensor, rows: Tensor) -> Judged:
    return Judged(x.flatten(1).mean(dim=1), torch.zeros(len(x), dtype=torch.bool))


@EVERY
@pytest.mark.parametrize("queries", [1, 2, 7, 40])
def test_the_budget_is_kept_to_the_query(attack: Any, queries: int) -> None:
    """Where nothing fools, every query is spent but those too few for a pair; each lies inside the box."""
    victim = Stub(never)
    best = replace(attack, queries=queries).search(victim, 0)
    assert (victim.forwards <= queries).all()
    spare = 1 if isinstance(attack, EstimatedGradient) else 0
    if not isinstance(attack, HopSkipJump):  # finds no start
        assert (victim.forwards >= queries - spare).all()
    assert not best.success.any() and best.value.isfinite().all()
    assert all(x.min() >= 0 and x.max() <= 1 for x in victim.seen)
    assert (attack.threat.distance(best.x, victim.clean) <= attack.threat.eps + 1e-5).all()


@pytest.mark.parametrize("queries", [30, 101, 300])
@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
def test_a_walk_on_the_boundary_spends_what_it_has(threat: Ball, queries: int) -> None:
    """A boundary far outside the ball: no image is done before its budget is."""

    def far(x: Tensor, rows: Tensor) -> Judged:
        value = (x - victim.clean[rows]).flatten(1).norm(dim=1) - 3.0
        return Judged(value, value > 0)

    victim = Stub(far)
    best = HopSkipJump(threat, queries=queries, directions=8).search(victim, 0)
    assert victim.forwards.tolist() == [queries] * 5 and not best.success.any()
    assert (threat.distance(best.x, victim.clean) <= threat.eps + 1e-5).all()


@EVERY
def test_a_fooled_image_is_asked_no_more(attack: Any) -> None:
    """Two of five images fall at the first query: no batch carries them further."""

    def weak(x: Tensor, rows: Tensor) -> Judged:
        return Judged(never(x, rows).value, rows < 2)

    victim = Stub(weak)
    best = replace(attack, queries=60).search(victim, 0)
    first = getattr(attack, "population", 1)  # all of the first generation are asked at once
    at_most = 2 if isinstance(attack, HopSkipJump) else first  # the clean image, and the verdict on what is returned
    assert best.success.tolist() == [True, True, False, False, False]
    assert (victim.forwards[:2] <= at_most).all() and (victim.forwards[2:] > at_most).all()


@EVERY
def test_whatever_the_blocks(attack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many images share a pass is a matter of memory alone."""
    few = replace(attack, queries=40)
    whole = few.search(Stub(never), 3).x
    monkeypatch.setattr(population, "BLOCK", 1)
    assert torch.allclose(few.search(Stub(never), 3).x, whole, atol=1e-6)


@pytest.mark.parametrize("threat", [Ball("linf", 3 / 255), Ball("l2", 0.4)], ids=["linf", "l2"])
def test_never_stronger_than_a_white_box(threat: Ball, trained: Clip, batch: Batch) -> None:
    """As many forward passes with gradients find at least the margin that queries alone do (attacks.md 5.20)."""
    queries = 120
    white = PGD(threat, steps=30, step=0.25, decay=True, objective="margin", restarts=4)(trained, batch, rng())
    assert white.outcome is not None
    fell = white.outcome.success
    assert fell.any() and not fell.all()
    for attack in (Square(threat, queries), EstimatedGradient(threat, queries), HopSkipJump(threat, queries)):
        black = attack(trained, batch, rng())
        assert black.outcome is not None and (black.outcome.forwards <= queries).all()
        assert (black.outcome.success <= fell).all()
        assert (black.outcome.value <= white.outcome.value + 0.05)[~fell].all()
