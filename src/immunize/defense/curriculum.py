"""While training: which attack to train on for the next steps, chosen by what the last choice did for all regimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from pydantic import Field

from immunize.bandits import DiscountedUcb, Exp3S
from immunize.config import frozen

Held = Callable[[], Float[np.ndarray, " z"]]  # R on held-out pairs under each regime, as the model is now
Entry = tuple[int, int, float, float]
Hardness = Callable[[], Float[np.ndarray, " k"]]  # the training loss under each arm, as the model is now


@frozen
class Arm:
    """An attack of the training, by its name, and lambda, the weight of the adversarial term."""

    attack: str
    weight: Annotated[float, Field(ge=0)] = 1.0


def arms(attacks: Sequence[str], weights: Sequence[float]) -> tuple[Arm, ...]:
    """Every attack with every weight."""
    return tuple(Arm(attack, weight) for attack, weight in product(attacks, weights))


@runtime_checkable
class Chooser(Protocol):
    """An arm among many, again and again; `gain` is what the last stretch with it brought."""

    def choose(self) -> int: ...

    def learn(self, arm: int, gain: float) -> None: ...


@frozen
class Ucb:
    """Discounted UCB (arXiv:0805.3415); gains are divided by their own running spread, so `width` has no unit."""

    discount: Annotated[float, Field(gt=0, le=1)] = 0.95
    width: Annotated[float, Field(ge=0)] = 0.5
    kind: Literal["ucb"] = "ucb"

    def start(self, count: int, seed: int) -> Chooser:
        return Scaled(DiscountedUcb(count, self.discount, self.width))


@frozen
class Exp3:
    """Exp3.S, gains squashed into [0, 1] by their running spread."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.3
    share: Annotated[float, Field(ge=0)] = 1e-3
    kind: Literal["exp3_s"] = "exp3_s"

    def start(self, count: int, seed: int) -> Chooser:
        return Scaled(Exp3S(count, np.random.default_rng(seed), self.gamma, self.share))


@frozen
class Reversed:
    """Control: the same bandit, told the opposite of every gain; if it trains as well, the bandit did nothing."""

    inside: Annotated[Ucb | Exp3, Field(discriminator="kind")]
    kind: Literal["reversed"] = "reversed"

    def start(self, count: int, seed: int) -> Chooser:
        return Opposite(self.inside.start(count, seed))


@frozen
class Even:
    """Control: every arm with the same chance."""

    kind: Literal["even"] = "even"

    def start(self, count: int, seed: int) -> Chooser:
        return Drawn(count, np.random.default_rng(seed))


@frozen
class Constant:
    """Control: one arm, by its place."""

    arm: Annotated[int, Field(ge=0)]
    kind: Literal["constant"] = "constant"

    def start(self, count: int, seed: int) -> Chooser:
        """Raises ValueError where there is no such arm."""
        if self.arm >= count:
            raise ValueError(f"curriculum: constant arm {self.arm} of {count} arms, which are counted from 0")
        return Same(self.arm)


@frozen
class Hardest:
    """Control: the arm under which the model does worst now."""

    kind: Literal["hardest"] = "hardest"

    def start(self, count: int, seed: int) -> Chooser:
        raise ValueError("curriculum: 'hardest' asks for the loss of each arm: give Curriculum its `hardness`")


Choice = Annotated[Ucb | Exp3 | Reversed | Even | Constant | Hardest, Field(discriminator="kind")]


@dataclass
class Curriculum:
    """`at(step)` is the arm to train on: chosen anew each `every` steps by `choice`, rewarded by the gain of `held`.

    The gain of a stretch is the mean over all regimes of R after it less R before it: an arm that helps one regime at the
    cost of the others earns nothing. `held` is asked once a stretch, `hardness` likewise and only for `Hardest`. Steps
    are to come in order, from 0, or from where `replay` left off. log: (step, arm, gain of the stretch before, R now).
    """

    choices: tuple[Arm, ...]
    choice: Choice
    held: Held
    every: int = 50
    seed: int = 0
    hardness: Hardness | None = None

    def __post_init__(self) -> None:
        if not self.choices or self.every < 1:
            raise ValueError(
                f"curriculum: {len(self.choices)} arms, a choice each {self.every} steps: at least 1 of both"
            )
        count = len(self.choices)
        if isinstance(self.choice, Hardest) and self.hardness is not None:
            self.chooser: Chooser = Worst(self.hardness)
        else:
            self.chooser = self.choice.start(count, self.seed)
        self.arm, self.before, self.log = -1, np.nan, list[Entry]()

    def at(self, step: int) -> Arm:
        """The arm of this step. Raises ValueError for a gain that is not finite: the training has gone astray."""
        if step % self.every == 0:
            now = float(np.mean(self.held()))
            gain = now - self.before if self.arm >= 0 else 0.0
            if not np.isfinite(gain):
                raise ValueError(f"curriculum: R on held-out pairs is {now} at step {step}; look at the training")
            if self.arm >= 0:
                self.chooser.learn(self.arm, gain)
            self.arm, self.before = self.chooser.choose(), now
            self.log.append((step, self.arm, gain, now))
        return self.choices[self.arm]

    def replay(self, log: Sequence[Entry]) -> None:
        """Go on from an earlier log: the chooser learns and draws as it did, and what it chose then stands."""
        for step, arm, gain, now in log:
            if self.arm >= 0:
                self.chooser.learn(self.arm, gain)
            if not isinstance(self.chooser, Worst):  # which asks the model, and remembers nothing
                self.chooser.choose()
            self.arm, self.before = arm, now
            self.log.append((step, arm, gain, now))


class Scaled:
    """Gains -> [0, 1] by a logistic of (gain - running mean) / running deviation: what a gain is worth is not known before."""

    def __init__(self, inside: DiscountedUcb | Exp3S) -> None:
        self.inside, self.count, self.mean, self.square = inside, 0, 0.0, 0.0

    def choose(self) -> int:
        return self.inside.choose()

    def learn(self, arm: int, gain: float) -> None:
        self.count += 1
        weight = max(1 / self.count, 0.05)
        self.mean += weight * (gain - self.mean)
        self.square += weight * (gain**2 - self.square)
        spread = max(self.square - self.mean**2, 0.0) ** 0.5
        z = (gain - self.mean) / spread if spread > 0 else 0.0
        self.inside.learn(arm, float(1 / (1 + np.exp(-np.clip(z, -30, 30)))))


class Opposite:
    """-gain."""

    def __init__(self, inside: Chooser) -> None:
        self.inside = inside

    def choose(self) -> int:
        return self.inside.choose()

    def learn(self, arm: int, gain: float) -> None:
        self.inside.learn(arm, -gain)


class Drawn:
    """Chance."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.count, self.rng = count, rng

    def choose(self) -> int:
        return int(self.rng.integers(self.count))

    def learn(self, arm: int, gain: float) -> None:
        """Nothing to learn."""


class Same:
    """Always the same."""

    def __init__(self, arm: int) -> None:
        self.arm = arm

    def choose(self) -> int:
        return self.arm

    def learn(self, arm: int, gain: float) -> None:
        """Nothing to learn."""


class Worst:
    """Where the loss is highest now."""

    def __init__(self, hardness: Hardness) -> None:
        self.hardness = hardness

    def choose(self) -> int:
        return int(np.argmax(self.hardness()))

    def learn(self, arm: int, gain: float) -> None:
        """Nothing to learn."""
