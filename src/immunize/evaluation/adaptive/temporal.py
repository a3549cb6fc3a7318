"""A4: attacks on when, not on what: a policy that follows the stream is led by it. Each has a control without the trick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from immunize.config import frozen
from immunize.evaluation.adaptive.stream import Earned, Ground, Make, Plan, play
from immunize.metrics.interval import student

Rate = Annotated[float, Field(ge=0, le=1)]
Tricks = Iterator[tuple[str, Plan, Plan]]  # name, the attack, its control


@frozen
class Switching:
    """Clean and attacked stretches of `lag * factor` steps in turn, against the same steps with one switch in the middle.

    lag: the steps that the policy was measured to need after a switch. A policy is weakest near it: shorter, and it never
    arrives; longer, and it has arrived for most of the stretch.
    """

    lag: Annotated[int, Field(ge=1)]
    factors: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    kind: Literal["switching"] = "switching"

    def plans(self, ground: Ground, steps: int, rng: np.random.Generator) -> Tricks:
        item, attack = _items(ground, steps, rng), int(rng.integers(1, ground.regimes))
        for factor in self.factors:
            period = max(1, round(self.lag * factor))
            regime = np.where(np.arange(steps) // period % 2 == 1, attack, 0)
            yield f"period {period}", _plan(item, regime), _plan(item, np.sort(regime))


@frozen
class Mimicry:
    """A clean warm-up, then the attack, against the same attack on a policy that has seen nothing."""

    warmup: Rate = 0.75
    kind: Literal["mimicry"] = "mimicry"

    def plans(self, ground: Ground, steps: int, rng: np.random.Generator) -> Tricks:
        item = _items(ground, steps, rng)
        start = min(int(self.warmup * steps), steps - 1)
        for attack in range(1, ground.regimes):
            regime = np.where(np.arange(steps) >= start, attack, 0)
            plan = _plan(item, regime)
            yield f"regime {attack}", replace(plan, counts=regime > 0), _plan(item[start:], regime[start:])


@frozen
class Denial:
    """A share of harmless pairs that look attacked, to force a costly action on the clean ones, which alone count."""

    share: Rate = 0.25
    kind: Literal["denial"] = "denial"

    def plans(self, ground: Ground, steps: int, rng: np.random.Generator) -> Tricks:
        item, clean = _items(ground, steps, rng), np.zeros(steps, dtype=np.int64)
        theirs = _share(steps, self.share, rng)
        for look in range(1, ground.regimes):
            control = replace(_plan(item, clean), counts=~theirs)
            yield f"looks like {look}", replace(control, shown=np.where(theirs, look, 0)), control


@frozen
class Contamination:
    """Attacked pairs whose share grows from 0 to `last`, against as many from the first step on; the attacked ones count."""

    last: Rate = 1.0
    kind: Literal["contamination"] = "contamination"

    def plans(self, ground: Ground, steps: int, rng: np.random.Generator) -> Tricks:
        item, chance = _items(ground, steps, rng), rng.random(steps)
        theirs = chance < self.last * (np.arange(steps) + 1) / steps
        theirs[-1] = True
        for attack in range(1, ground.regimes):
            slow, steady = np.where(theirs, attack, 0), np.where(rng.permutation(theirs), attack, 0)
            yield f"regime {attack}", _attacked(item, slow), _attacked(item, steady)


@frozen
class Poisoning:
    """A share of the rewards told turned around, on a stream that switches every `dwell` steps on average, against none.

    A policy that does not learn while it serves cannot be led so, and loses nothing.
    """

    shares: tuple[Rate, ...] = (0.05, 0.2, 0.5)
    dwell: Annotated[float, Field(ge=1)] = 50.0
    kind: Literal["poisoning"] = "poisoning"

    def plans(self, ground: Ground, steps: int, rng: np.random.Generator) -> Tricks:
        item, cuts = _items(ground, steps, rng), np.cumsum(rng.random(steps) < 1 / self.dwell)
        control = _plan(item, rng.integers(0, ground.regimes, size=steps + 1)[cuts])
        for share in self.shares:
            yield f"{100 * share:g} % lied", replace(control, lied=_share(steps, share, rng)), control


Temporal = Annotated[Switching | Mimicry | Denial | Contamination | Poisoning, Field(discriminator="kind")]


@frozen
class Damage:
    """What a trick costs: control less attack in reward and accuracy (points), attack less control in latency.

    Means over streams, each with the 95 % interval of Student's t over them. below_fixed: how far the policy ends below
    the best single action of the attacked stream, seen afterwards: above 0 a static system would have been better.
    """

    reward: tuple[float, float, float]
    accuracy: tuple[float, float, float]
    latency: tuple[float, float, float]
    below_fixed: tuple[float, float, float]


def damages(
    make: Make, ground: Ground, attacks: Mapping[str, Temporal], *, steps: int = 1500, streams: int = 20, seed: int = 0
) -> dict[str, dict[str, Damage]]:
    """attack -> trick -> what it costs a policy; the worst trick of an attack is the attack.

    Raises ValueError where there is no attacked regime, or fewer than two streams, which have no interval.
    """
    if ground.regimes < 2 or streams < 2:
        raise ValueError(f"{ground.regimes} regimes, {streams} streams: two of each are needed at least")
    found: dict[str, dict[str, Damage]] = {}
    for name, attack in attacks.items():
        pairs: dict[str, list[tuple[Earned, Earned]]] = {}
        for stream in range(streams):
            rng = np.random.default_rng([seed, stream])
            for trick, plan, control in attack.plans(ground, steps, rng):
                earned = play(make, ground, plan), play(make, ground, control)
                pairs.setdefault(trick, []).append(earned)
        found[name] = {trick: _damage(earned) for trick, earned in pairs.items()}
    return found


def worst_of(found: Mapping[str, Mapping[str, Damage]]) -> tuple[str, str, Damage]:
    """The attack and the trick that cost the most reward."""
    every = [(name, trick, damage) for name, tricks in found.items() for trick, damage in tricks.items()]
    return max(every, key=lambda one: one[2].reward[0])


def _damage(pairs: list[tuple[Earned, Earned]]) -> Damage:
    return Damage(
        reward=_mean([control.reward - attack.reward for attack, control in pairs]),
        accuracy=_mean([control.accuracy - attack.accuracy for attack, control in pairs]),
        latency=_mean([attack.latency - control.latency for attack, control in pairs]),
        below_fixed=_mean([attack.fixed - attack.reward for attack, _ in pairs]),
    )


def _mean(values: list[float]) -> tuple[float, float, float]:
    """Mean, low, high."""
    interval = student(values)
    return float(np.mean(values)), interval.low, interval.high


def _items(ground: Ground, steps: int, rng: np.random.Generator) -> Int[np.ndarray, " t"]:
    return rng.integers(0, len(ground.reward), size=steps)


def _plan(item: Int[np.ndarray, " t"], regime: Int[np.ndarray, " t"]) -> Plan:
    """An honest stream of which every step counts."""
    every = np.ones(len(item), dtype=bool)
    return Plan(item, regime, regime, ~every, every)


def _attacked(item: Int[np.ndarray, " t"], regime: Int[np.ndarray, " t"]) -> Plan:
    """One of which the attacked steps count."""
    return replace(_plan(item, regime), counts=regime > 0)


def _share(steps: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """That share of the steps, at random; never all of them."""
    mask = np.zeros(steps, dtype=bool)
    mask[rng.permutation(steps)[: min(round(share * steps), steps - 1)]] = True
    return mask
