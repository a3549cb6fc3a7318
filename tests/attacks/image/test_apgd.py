"""APGD against its algorithm written out one image at a time, the first checkpoint by hand, targets, costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any, Literal

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.image import APGD
from immunize.attacks.image.apgd import _checkpoints, rivals
from immunize.attacks.victim import Victim
from immunize.batch import Batch
from immunize.models import Clip
from immunize.objectives import Bank, margin
from immunize.threats import Ball, Waveform

Norm = Literal["linf", "l2"]
NORMS = pytest.mark.parametrize(("norm", "eps"), [("linf", 0.15), ("l2", 0.6)])


def rng() -> Generator:
    return Generator().manual_seed(0)


def curved(seed: int = 0, examples: int = 5) -> tuple[Victim, Callable[[Tensor], Tensor]]:
    """Five small signals before a tower of two layers, in which the ascent overshoots now and then."""
    gen = Generator().manual_seed(seed)
    clean = 0.2 + 0.6 * torch.rand(examples, 2, 3, 3, generator=gen)
    first, second = torch.randn(18, 12, generator=gen), torch.randn(12, 6, generator=gen)

    def encode(x: Tensor) -> Tensor:
        return (2 * (x.flatten(1) - 0.5) @ first).sin() @ second

    own = torch.nn.functional.one_hot(encode(clean).argmax(dim=1), 6).bool()
    bank = Bank(torch.eye(6), own, torch.tensor(1.0))
    return Victim(encode, clean, bank, torch.arange(examples) + 7, "margin"), encode


def by_hand(victim: Victim, i: int, attack: APGD, start: Tensor) -> tuple[Tensor, int]:
    """Algorithm 1 of arXiv:2003.01690 for example i alone: the best value, and how often its step was halved."""
    clean, steps, ball = victim.clean[i : i + 1], attack.steps, attack.threat
    bank = victim.bank.take(torch.tensor([i]))

    def f(x: Tensor) -> tuple[float, Tensor]:
        x = x.detach().requires_grad_()
        value = margin(victim.encode(x), bank)
        return value.item(), torch.autograd.grad(value.sum(), x)[0]

    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = sorted({ceil(round(q * steps, 9)) for q in p if q <= 1 + 1e-9})
    eta, halvings, x = 2 * ball.eps, 0, start
    value, gradient = f(x)
    history, top = [value], (value, x, gradient)
    eta_at, top_at, before = {0: eta}, {0: value}, x
    for k in range(1, steps + 1):
        z = ball.project(x + eta * ball.steepest(gradient), clean)
        a = 1.0 if k == 1 else attack.momentum
        x, before = ball.project(x + a * (z - x) + (1 - a) * (x - before), clean), x
        new, gradient = f(x)
        history.append(float(new > value))
        value = new
        if value > top[0]:
            top = (value, x, gradient)
        if k in w:
            last = max(j for j in w if j < k)
            few = sum(history[last + 1 : k + 1]) < attack.rho * (k - last)
            eta_at[k], top_at[k] = eta, top[0]
            if few or (eta_at[last] == eta_at[k] and top_at[last] == top_at[k]):
                eta, halvings = eta / 2, halvings + 1
                value, x, gradient = top
    return torch.tensor(top[0]), halvings


@NORMS
@pytest.mark.parametrize("steps", [7, 30])
def test_against_the_algorithm_by_hand(norm: Norm, eps: float, steps: int) -> None:
    victim, _ = curved()
    attack = APGD(Ball(norm, eps), steps=steps, objective="margin")
    start = attack.threat.sample(victim.clean, victim.keys, 3)
    values, halvings = zip(*(by_hand(victim, i, attack, start[i : i + 1]) for i in range(5)), strict=True)
    # success goes before the value, which here rank alike: the margin is both
    assert torch.allclose(attack.search(victim, 3).value, torch.stack(values), atol=1e-4)
    assert steps == 7 or len(set(halvings)) > 1, "each example halves its own step"


def test_the_checkpoints_of_a_hundred_steps() -> None:
    assert sorted(_checkpoints(100)) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(_checkpoints(20)) == [0, 5, 9, 12, 14, 16, 18, 19, 20]
    assert _checkpoints(0) == {0} and max(_checkpoints(3)) <= 3


def scripted(values: list[float], slopes: list[float], steps: int) -> list[float]:
    """Where the attack on one pixel of 0.5 goes within 0.1, told these values and slopes in turn (then the last)."""
    seen: list[float] = []

    def objective(image: Tensor, bank: Bank) -> Tensor:
        k = len(seen)
        seen.append(image.item())
        return values[min(k, len(values) - 1)] + slopes[min(k, len(slopes) - 1)] * (image - image.detach())[:, 0]

    bank = Bank(torch.ones(2, 1), torch.tensor([[True, False]]), torch.tensor(1.0))
    victim = Victim(lambda x: x.flatten(1), torch.full((1, 1, 1, 1), 0.5), bank, torch.tensor([1]), objective)
    APGD(Ball("linf", 0.1), steps=steps).search(victim, 0)
    return seen


def test_the_first_checkpoint_counts_no_rise_that_was_not() -> None:
    """Two of three steps rise, 2.25 are asked: halved. Counting the start against an empty 0 makes it three (5.8)."""
    assert min(_checkpoints(10) - {0}) == 3
    seen = scripted([1.0, 2.0, 3.0, 2.5, 2.0], [1.0, 1.0, -1.0, -1.0, 1.0], 10)
    assert seen[1:4] == pytest.approx([0.6, 0.6, 0.45])  # to the border, held there, 0.75 of the way back
    assert seen[4] == pytest.approx(0.525)  # from the maximum 0.6, and half as far


def test_rises_that_reach_no_new_maximum_are_not_enough() -> None:
    """Four of five steps rise, 3.75 are asked, yet the start is still the best: halved, and back to the start."""
    assert min(_checkpoints(20) - {0}) == 5
    seen = scripted([9.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1.0], 20)
    start, ahead = seen[0], min(seen[0] + 0.1, 0.6)
    assert seen[1:6] == pytest.approx([0.6] * 5) and start < 0.59
    assert seen[6] == pytest.approx(start + 0.75 * (ahead - start) + 0.25 * (start - 0.6))


def test_every_point_is_judged_and_costs_what_it_must(trained: Clip, batch: Batch) -> None:
    ball = Ball("linf", 4 / 255)
    after = APGD(ball, steps=20)(trained, batch, rng())
    assert after.outcome is not None
    assert after.outcome.forwards.tolist() == [21] * 6 and after.outcome.backwards.tolist() == [20] * 6
    after = APGD(ball, steps=3, objective="dlr", targets=2, restarts=2)(trained, batch, rng())
    assert after.outcome is not None
    assert after.outcome.forwards.tolist() == [1 + 4 * 4] * 6 and after.outcome.backwards.tolist() == [4 * 3] * 6


@NORMS
def test_restarts_fool_what_one_start_fools(norm: Norm, eps: float) -> None:
    attack = APGD(Ball(norm, eps), steps=3, objective="margin")
    one, four = (replace(attack, restarts=n).search(curved(examples=30)[0], 0) for n in (1, 4))
    assert (four.success >= one.success).all() and (four.value >= one.value).all()
    assert (four.value > one.value).any()


def test_fooled_examples_leave_and_the_others_do_not_notice() -> None:
    attack = APGD(Ball("linf", 0.03), steps=20, objective="margin", restarts=2)
    victims = [curved(examples=30)[0] for _ in range(2)]
    whole, early = (replace(attack, early_stop=e).search(v, 0) for e, v in zip((False, True), victims, strict=True))
    fell = early.success
    assert fell.any() and not fell.all() and torch.equal(fell, whole.success)
    assert (victims[1].forwards[fell] < 42).all() and (victims[1].forwards[~fell] == 42).all()
    assert torch.allclose(early.x[~fell], whole.x[~fell], atol=1e-5)


def test_the_likeliest_wrong_texts_come_first_and_none_is_invented() -> None:
    bank = Bank(torch.eye(4), torch.tensor([[True, False, False, False], [True, True, True, False]]), torch.tensor(1.0))
    clean = torch.tensor([[0.9, 0.1, 0.5, 0.3], [0.9, 0.1, 0.5, 0.3]])[:, :, None, None]
    victim = Victim(lambda x: x.flatten(1), clean, bank, torch.arange(2))
    assert rivals(victim, 3).tolist() == [[2, 3, 1], [3, -1, -1]]
    assert rivals(victim, 9).shape == (2, 4) and victim.forwards.tolist() == [2, 2]


def test_an_example_with_fewer_wrong_texts_is_attacked_fewer_times() -> None:
    victim, _ = curved()
    own = torch.ones_like(victim.bank.own)
    own[:, 4:], own[0, 1:] = False, False
    victim.bank = replace(victim.bank, own=own)
    APGD(Ball("linf", 0.01), steps=3, objective="margin", targets=4).search(victim, 0)
    assert victim.backwards.tolist() == [12, 6, 6, 6, 6]


def test_what_reaches_a_target_fools(trained: Clip, batch: Batch) -> None:
    """APGD-T is the union over its targets, and any wrong text will do."""
    attack = APGD(Ball("linf", 3 / 255), steps=5, objective="margin")
    with Victim.of(trained, batch, "margin") as victim:
        wrong = rivals(victim, 3)
        union = replace(attack, targets=3).search(victim, 11)
    texts = (*batch.captions, *batch.gallery)
    reached = torch.zeros(6, dtype=torch.bool)
    for run in range(3):
        aimed = replace(batch, targets=tuple(texts[k] for k in wrong[:, run].tolist()))
        with Victim.of(trained, aimed, "margin", targeted=True) as victim:
            reached |= replace(attack, targeted=True).search(victim, 11 + run).success
    assert reached.any() and (union.success >= reached).all()


def test_sound_has_steps_of_its_own() -> None:
    gen = rng()
    clean = torch.sin(torch.linspace(0, 60, 400))[None, None] * torch.tensor([0.5, 0.05]).view(2, 1, 1)
    kernel = torch.randn(400, 4, generator=gen)
    bank = Bank(torch.eye(4), torch.eye(4).bool()[:2], torch.tensor(1.0))
    victim = Victim(lambda x: x.flatten(1) @ kernel, clean, bank, torch.arange(2), "margin")
    best = APGD(Waveform(-20.0), steps=8, objective="margin").search(victim, 0)
    assert (best.x - clean).abs().amax(dim=(1, 2)).tolist() == pytest.approx([0.05, 0.005], rel=1e-2)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"threat": Ball("l0", 5.0)}, "threat"),
        ({"targets": 3, "targeted": True}, "targets"),
        ({"objective": "infonce", "early_stop": True}, "early_stop"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        APGD(**{"threat": Ball("linf", 0.1), **fields})
