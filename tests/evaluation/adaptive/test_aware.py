"""A detector falls to who knows it, not to who does not; the two rules worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.black_box import Square
from immunize.attacks.image.pgd import Point
from immunize.batch import Batch
from immunize.evaluation.adaptive import Aware, GradientFree, Oblivious, evaluate
from immunize.evaluation.adaptive.steps import RULES, unit, without
from immunize.evaluation.adaptive.target import Slopes, Target, Watched
from immunize.threats import Ball

ASCENT = PGD(Ball("linf", 3 / 255), steps=20, step=0.1, objective="margin")


@pytest.fixture
def guarded(make: Any, fragile: Any, plain: Batch) -> Any:
    """The fragile model behind a detector of rough images, which flags none of the clean ones."""
    return make.Planted({"none": fragile}, make.roughness, float(1.3 * make.roughness(plain.images).max()))


def test_a_planted_detector_stops_the_oblivious_and_falls_to_the_aware(guarded: Any, plain: Batch) -> None:
    """At 0 % false positives: wrong 8 of 8 both times, and flagged 8 of 8, then none."""
    attacks = {
        "oblivious": Oblivious(ASCENT),
        "aware": Aware(ASCENT),
        "square": GradientFree(Square(ASCENT.threat, 100)),
    }
    table = evaluate(guarded, plain, attacks)
    oblivious, aware = table.rows["oblivious"], table.rows["aware"]
    assert table.false_positives.percent == 0 and table.clean_accuracy.percent == 100
    assert all(oblivious.wrong) and not any(oblivious.unflagged) and not any(oblivious.success)
    assert all(aware.success) and table.right_or_flagged.percent == 0
    for name in ("none, selective", "none, orthogonal"):
        assert aware.candidates[name] == 8
    assert aware.candidates["none, sum 0"] == 0 < max(n for name, n in aware.candidates.items() if "sum" in name)


def test_without_a_detector_every_run_is_the_white_box(make: Any, fragile: Any, plain: Batch) -> None:
    table = evaluate(make.Planted({"none": fragile}), plain, {"aware": Aware(ASCENT, weights=(0.0, 10.0))})
    assert set(table.rows["aware"].candidates.values()) == {8}


class ByHand(Watched):
    """Two examples of three numbers, the first not fooled yet, with slopes as told."""

    def __init__(self, task: Tensor, suspicion: Tensor) -> None:
        self.task_slope, self.suspicion_slope = task, suspicion

    def slopes(self, at: Point) -> Slopes:
        return Slopes(self.task_slope, self.suspicion_slope, torch.tensor([False, True]))


def test_the_rules_by_hand() -> None:
    """task (4, 0, 0), (2, 2, 0); suspicion (3, 3, 0), (0, 1, 0): each over its largest entry, then parts taken away."""
    task = torch.tensor([[4.0, 0.0, 0.0], [2.0, 2.0, 0.0]])
    suspicion = torch.tensor([[3.0, 3.0, 0.0], [0.0, 1.0, 0.0]])
    victim = ByHand(task, suspicion)
    at = Point(0, torch.zeros(2, 3), torch.zeros(2), torch.arange(2), Generator())
    assert torch.allclose(RULES["selective"](victim, at), torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]))
    # (1, 0, 0) - 1/2 (1, 1, 0) and (0, -1, 0) + 1/2 (1, 1, 0)
    assert torch.allclose(RULES["orthogonal"](victim, at), torch.tensor([[0.5, -0.5, 0.0], [0.5, -0.5, 0.0]]))
    still = ByHand(task, torch.zeros_like(suspicion))
    for name in ("selective", "orthogonal"):
        assert torch.allclose(RULES[name](still, at), unit(task)), "no detector, so the task goes on once fooled"  # type: ignore[index]


def test_what_is_taken_away_leaves_a_right_angle() -> None:
    rng = Generator().manual_seed(0)
    a, b = torch.randn(5, 3, 4, 4, generator=rng), torch.randn(5, 3, 4, 4, generator=rng)
    assert (without(a, b) * b).flatten(1).sum(dim=1).abs().max() < 1e-4
    assert torch.equal(without(a, torch.zeros_like(b)), a)
    assert torch.equal(without(a, 2 * a), a), "nothing would be left, so the step stays"


def test_a_slope_is_measured_by_its_largest_entry() -> None:
    small = torch.tensor([[1e-20, -5e-21], [0.0, 0.0], [float("nan"), 2.0]])
    assert torch.allclose(unit(small), torch.tensor([[1.0, -0.5], [0.0, 0.0], [0.0, 1.0]]))


def test_the_weighted_sum_is_what_is_climbed(guarded: Any, plain: Batch) -> None:
    """d (task - w s) / dx against the two slopes taken apart, and the value against its parts."""
    with Target.of(guarded, plain) as target:
        victim = Watched(target, "none", "margin", weight=2.5)
        x = plain.images.clone().requires_grad_()
        value = victim.judge(x, victim.all).value
        assert victim.seen is not None
        assert torch.allclose(value, victim.seen.task - 2.5 * guarded.suspicion(x, ()), atol=1e-5)
        apart = victim.slopes(Point(0, x, value, victim.all, Generator()))
        x = plain.images.clone().requires_grad_()
        value = victim.judge(x, victim.all).value
        together = victim.slope(Point(0, x, value, victim.all, Generator()))
    assert torch.allclose(together, apart.task - 2.5 * apart.suspicion, atol=1e-4)


def test_more_restarts_never_lose(guarded: Any, plain: Batch) -> None:
    once = Aware(replace(ASCENT, steps=4), weights=(10.0,), modes=("sum",))
    many = replace(once, attack=replace(once.attack, restarts=4))
    with torch.no_grad():
        a, b = (attack(guarded, plain, Generator().manual_seed(0))["none, sum 10"].outcome for attack in (once, many))
    assert a is not None and b is not None
    assert (b.success >= a.success).all() and (b.forwards == 4 * a.forwards).all()
