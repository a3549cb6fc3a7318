"""The ensemble is the union of its members, each on what is left, and costs what they cost."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.black_box.square import Square
from immunize.attacks.image import APGD, FAB, AutoAttack
from immunize.attacks.victim import Victim
from immunize.objectives import Bank, Name
from immunize.threats import Ball


def victim(objective: Name = "margin", texts: int = 6) -> Victim:
    """Small images before a tower that no single attack fools everywhere."""
    gen = Generator().manual_seed(0)
    clean = 0.2 + 0.6 * torch.rand(40, 3, 4, 4, generator=gen)
    first, second = torch.randn(48, 16, generator=gen), torch.randn(16, texts, generator=gen)

    def encode(x: Tensor) -> Tensor:
        return ((x.flatten(1) - 0.5) @ first).sin() @ second

    own = torch.nn.functional.one_hot(encode(clean).argmax(dim=1), texts).bool()
    return Victim(encode, clean, Bank(torch.eye(texts), own, torch.tensor(1.0)), torch.arange(40), objective)


AUTO = AutoAttack(Ball("linf", 0.012), steps=4, targets=3, queries=30)


def test_the_standard_ensemble() -> None:
    first, second, third, fourth = AutoAttack(Ball("linf", 0.1)).members(10)
    assert isinstance(first, APGD) and isinstance(second, APGD)
    assert isinstance(third, FAB) and isinstance(fourth, Square)
    assert (first.objective, first.targets, second.objective, second.targets) == ("cross_entropy", 0, "dlr", 9)
    assert (first.steps, second.steps, third.steps, fourth.queries, fourth.rescaled) == (100, 100, 100, 5000, False)


def test_with_few_texts_the_margin_stands_in_for_the_dlr() -> None:
    """pyautoattack raises an IndexError there (attacks.md 5.9)."""
    for texts in (2, 3):
        best = AUTO.search(victim(texts=texts), 0)
        assert best.success.any() and not best.success.all()


def test_the_union_of_its_members_at_the_sum_of_their_costs() -> None:
    """Run by hand on copies that share nothing."""
    whole = victim()
    best = AUTO.search(whole, 5)
    left, forwards, backwards = torch.ones(40).bool(), torch.ones(40).long(), torch.zeros(40).long()
    for number, member in enumerate(AUTO.members(6)):
        copy, rows, objective = victim(), left.nonzero()[:, 0], getattr(member, "objective", "margin")
        alone = Victim(copy.encode, copy.clean[rows], copy.bank.take(rows), copy.keys[rows], objective)
        found = member.search(alone, 5 + number)
        forwards[left] += alone.forwards + 1
        backwards[left] += alone.backwards
        left[left.clone()] = ~found.success
    assert torch.equal(best.success, ~left) and left.any() and not left.all()
    assert torch.equal(whole.forwards, forwards) and torch.equal(whole.backwards, backwards)


def test_what_one_member_fools_no_other_is_asked_about() -> None:
    whole, first = victim(), victim("cross_entropy")
    AUTO.search(whole, 5)
    fell = AUTO.members(6)[0].search(first, 5).success
    assert fell.any() and torch.equal(whole.forwards[fell], first.forwards[fell] + 2)
    assert (whole.forwards[~fell] > 1 + 5 + 1).all()  # the clean image, five points, the verdict, and others


def test_what_fails_is_the_strongest_point_of_any_member() -> None:
    best, one = AUTO.search(victim(), 5), AUTO.members(6)[0].search(victim("cross_entropy"), 5)
    failed, judge = ~best.success, victim()
    assert (judge.query(best.x, judge.all).value[failed] >= judge.query(one.x, judge.all).value[failed] - 1e-5).all()
    assert (AUTO.threat.distance(best.x, judge.clean)[failed] > 0).all()


def test_all_fooled_from_the_start_is_done_at_once() -> None:
    fooled = victim()
    fooled.bank = replace(fooled.bank, own=~fooled.bank.own)
    assert AUTO.search(fooled, 0).success.all() and fooled.forwards.tolist() == [1] * 40


@pytest.mark.parametrize("ball", [Ball("l0", 4.0), Ball("l2", inf)])
def test_a_threat_that_a_member_cannot_hold(ball: Ball) -> None:
    with pytest.raises(ValueError, match=r"^threat: "):
        AutoAttack(ball)
