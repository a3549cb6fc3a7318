"""Streams short enough to add up by hand, and policies whose weakness is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

from immunize.config import dump, parse
from immunize.evaluation.adaptive.stream import Ground, Plan, play
from immunize.evaluation.adaptive.temporal import (
    Contamination,
    Damage,
    Denial,
    Mimicry,
    Poisoning,
    Switching,
    Temporal,
    damages,
    worst_of,
)


@pytest.fixture
def ground() -> Ground:
    """Clean: action 0 earns 0, action 1 -1. Attacked: the other way. Action 1 takes 3 ms instead of 1; features say which."""
    reward = np.broadcast_to(np.array([[0.0, -1.0], [-1.0, 0.0]]), (5, 2, 2)).copy()
    features = np.broadcast_to(np.array([[0.0], [1.0]]), (5, 2, 1)).copy()
    return Ground(reward, reward == 0, np.array([1.0, 3.0]), features)


class Fixed:
    """Always the same."""

    def __init__(self, action: int) -> None:
        self.action = action

    def act(self, observation: Any) -> int:
        return self.action

    def learn(self, observation: Any, action: int, reward: float) -> None:
        pass


class Seeing(Fixed):
    """Goes by what it sees now."""

    def act(self, observation: Any) -> int:
        return int(observation[0] > 0.5)


class Slow(Fixed):
    """Goes by the mean of the last `window` observations, this one not among them."""

    def __init__(self, window: int) -> None:
        self.seen, self.window = [0.0] * window, window

    def act(self, observation: Any) -> int:
        action = int(np.mean(self.seen[-self.window :]) > 0.5)
        self.seen.append(float(observation[0]))
        return action


class Believing(Fixed):
    """Takes whatever is said to have earned the most on average, each tried once."""

    def __init__(self) -> None:
        self.sums, self.counts = np.zeros(2), np.zeros(2)

    def act(self, observation: Any) -> int:
        return int(self.counts.argmin()) if self.counts.min() == 0 else int((self.sums / self.counts).argmax())

    def learn(self, observation: Any, action: int, reward: float) -> None:
        self.sums[action] += reward
        self.counts[action] += 1


def reward_lost(found: dict[str, Damage]) -> list[float]:
    return [damage.reward[0] for damage in found.values()]


def test_a_stream_by_hand(ground: Ground) -> None:
    """Regimes 0 1 1 0, the policy one step behind: right, wrong, right, wrong; the first step does not count."""
    regime, every = np.array([0, 1, 1, 0]), np.ones(4, dtype=bool)
    plan = Plan(np.zeros(4, dtype=int), regime, regime, ~every, np.array([False, True, True, True]))
    earned = play(lambda: Slow(1), ground, plan)
    assert earned.reward == pytest.approx(-2 / 3) and earned.accuracy == pytest.approx(100 / 3)
    assert earned.latency == pytest.approx((1 + 3 + 3) / 3)
    assert earned.fixed == pytest.approx(-1 / 3), "action 1 throughout would have erred once"


def test_what_is_earned_is_the_truth_and_what_is_told_may_not_be(ground: Ground) -> None:
    told: list[float] = []

    class Listening(Fixed):
        def learn(self, observation: Any, action: int, reward: float) -> None:
            told.append(reward)

    clean = np.zeros(3, dtype=int)
    plan = Plan(clean, clean, clean, np.array([False, True, False]), np.ones(3, dtype=bool))
    assert play(lambda: Listening(0), ground, plan).reward == 0 and told == [0, -1, 0]


def test_a_period_of_the_lag_is_the_worst_for_who_follows_slowly(ground: Ground) -> None:
    """One step behind, period 1: each step is wrong but the first. Who sees the regime, or does not look, loses nothing."""
    switching = {"s": Switching(lag=4, factors=(0.25, 1.0, 8.0))}
    slow = damages(lambda: Slow(1), ground, switching, steps=64, streams=2)["s"]
    assert slow["period 1"].reward[0] == pytest.approx((63 - 1) / 64)
    assert slow["period 4"].reward[0] == pytest.approx((15 - 1) / 64)
    assert slow["period 32"].reward[0] == pytest.approx(0)
    assert slow["period 1"].below_fixed[0] == pytest.approx(63 / 64 - 0.5) and slow["period 1"].accuracy[0] > 90
    makes: list[Callable[[], Any]] = [lambda: Seeing(0), lambda: Fixed(0), lambda: Fixed(1)]
    for make in makes:
        assert reward_lost(damages(make, ground, switching, steps=64, streams=2)["s"]) == pytest.approx([0, 0, 0])


def test_a_warm_up_lulls_who_averages(ground: Ground) -> None:
    """Window 9 after 30 clean steps: the first 5 attacked ones are wrong; at the start, with 9 zeros behind, the same."""
    found = damages(lambda: Believing(), ground, {"m": Mimicry(0.75)}, steps=40, streams=2)["m"]
    assert found["regime 1"].reward[0] > 0.5, "what was learnt on clean data is believed to the end"
    assert reward_lost(damages(lambda: Seeing(0), ground, {"m": Mimicry()}, steps=40, streams=2)["m"]) == [0]


def test_denial_costs_the_honest_ones_their_time(ground: Ground) -> None:
    """Half of what comes looks attacked: who averages takes the costly action, and errs, on clean pairs too."""
    denial = {"d": Denial(share=0.5)}
    found = damages(lambda: Slow(3), ground, denial, steps=200, streams=3)["d"]["looks like 1"]
    assert found.latency[0] > 0.5 and found.reward[0] > 0.25 and found.accuracy[0] > 25
    assert found.reward[1] <= found.reward[0] <= found.reward[2]
    honest = damages(lambda: Seeing(0), ground, denial, steps=200, streams=3)["d"]["looks like 1"]
    assert honest.latency == (0, 0, 0) and honest.reward == (0, 0, 0)


def test_poison_turns_who_learns_and_no_other(ground: Ground) -> None:
    poison = {"p": Poisoning(shares=(0.0, 1.0), dwell=1000.0)}
    found = damages(Believing, ground, poison, steps=100, streams=4)["p"]
    assert found["0 % lied"].reward == (0, 0, 0) and found["100 % lied"].reward[0] > 0.3
    assert reward_lost(damages(lambda: Seeing(0), ground, poison, steps=100, streams=2)["p"]) == [0, 0]


def test_slow_growth_has_as_many_attacked_as_its_control(ground: Ground) -> None:
    (name, plan, control), *rest = Contamination(last=0.8).plans(ground, 400, np.random.default_rng(0))
    assert name == "regime 1" and not rest
    assert plan.counts.sum() == control.counts.sum() == (plan.regime > 0).sum()
    early, late = (plan.regime > 0)[:200].mean(), (plan.regime > 0)[200:].mean()
    assert early < 0.35 < 0.5 < late
    assert abs((control.regime > 0)[:200].mean() - (control.regime > 0)[200:].mean()) < 0.15


ATTACKS = {
    "switching": Switching(5),
    "mimicry": Mimicry(),
    "denial": Denial(),
    "growth": Contamination(),
    "lies": Poisoning(),
}


def test_every_attack_in_time_is_here() -> None:
    assert {type(attack) for attack in ATTACKS.values()} == set(get_args(get_args(Temporal)[0]))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_plan_and_its_control_are_fair_and_fixed_by_the_seed(name: str, ground: Ground) -> None:
    """The same attack twice is the same; a policy that never changes its mind can lose nothing but to what is counted."""
    first, second = ([*ATTACKS[name].plans(ground, 60, np.random.default_rng(7))] for _ in range(2))
    for (a, plan, control), (b, again, _) in zip(first, second, strict=True):
        assert a == b and all(np.array_equal(getattr(plan, f), getattr(again, f)) for f in Plan.__slots__)
        assert plan.counts.sum() == control.counts.sum() > 0
        assert sorted(plan.regime[plan.counts]) == sorted(control.regime[control.counts])
    found = damages(lambda: Fixed(1), ground, {name: ATTACKS[name]}, steps=60, streams=2)[name]
    assert reward_lost(found) == pytest.approx([0.0] * len(found))
    assert parse(dump(ATTACKS[name]), Temporal, "here") == ATTACKS[name]


def test_the_worst_trick_is_the_one_that_costs_most(ground: Ground) -> None:
    found = damages(lambda: Slow(1), ground, {"s": Switching(1, (1.0, 8.0)), "d": Denial(0.1)}, steps=50, streams=2)
    assert worst_of(found)[:2] == ("s", "period 1")


def test_errors_name_what_does_not_fit(ground: Ground) -> None:
    with pytest.raises(ValueError, match="not of the same items"):
        Ground(ground.reward, ground.correct, np.zeros(3), ground.features)
    with pytest.raises(ValueError, match="two of each"):
        damages(lambda: Fixed(0), ground, {}, streams=1)
