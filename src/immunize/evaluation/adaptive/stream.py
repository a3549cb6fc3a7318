"""A policy over a stream of pairs: what it sees, what it is told, and what it really earned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

Vector = Float[np.ndarray, " f"]


class Player(Protocol):
    """A policy with whatever it remembers; made anew for each stream."""

    def act(self, observation: Vector) -> int:
        """The action for a pair, by its features."""
        ...

    def learn(self, observation: Vector, action: int, reward: float) -> None:
        """What the action is said to have earned; a policy that is frozen does nothing."""
        ...


Make = Callable[[], Player]


@dataclass(frozen=True, slots=True)
class Ground:
    """Item n under attack regime z and action a: reward, whether the answer is right, the action's latency, the features.

    Regime 0 is clean. Raises ValueError where the arrays are not of one size.
    """

    reward: Float[np.ndarray, "n z a"]
    correct: Bool[np.ndarray, "n z a"]
    latency: Float[np.ndarray, " k"]
    features: Float[np.ndarray, "n z f"]

    def __post_init__(self) -> None:
        n, z, a = self.reward.shape
        if self.correct.shape != (n, z, a) or self.latency.shape != (a,) or self.features.shape[:2] != (n, z):
            raise ValueError(
                f"reward {self.reward.shape}, correct {self.correct.shape}, latency {self.latency.shape}, "
                f"features {self.features.shape}: they are not of the same items, regimes and actions"
            )

    @property
    def regimes(self) -> int:
        """How many there are, the clean one included."""
        return self.reward.shape[1]


@dataclass(frozen=True, slots=True)
class Plan:
    """A stream: at step t comes item[t], attacked by regime[t], with the features of regime shown[t].

    lied: the reward told is turned around within its range (highest + lowest - reward). counts: the steps whose outcome is
    compared, the same number as in the plan's control.
    """

    item: Int[np.ndarray, " t"]
    regime: Int[np.ndarray, " t"]
    shown: Int[np.ndarray, " t"]
    lied: Bool[np.ndarray, " t"]
    counts: Bool[np.ndarray, " t"]


@dataclass(frozen=True, slots=True)
class Earned:
    """Means over the counted steps. fixed: the reward of the single action that is best there, seen afterwards."""

    reward: float
    accuracy: float
    latency: float
    fixed: float


def play(make: Make, ground: Ground, plan: Plan) -> Earned:
    """One policy, from its beginning, through one stream; what it earns is the truth, whatever it was told."""
    player = make()
    seen = ground.features[plan.item, plan.shown]
    payoff = ground.reward[plan.item, plan.regime]
    told = np.where(plan.lied[:, None], ground.reward.max() + ground.reward.min() - payoff, payoff)
    taken = np.zeros(len(plan.item), dtype=np.int64)
    for t, observation in enumerate(seen):
        taken[t] = player.act(observation)
        player.learn(observation, int(taken[t]), float(told[t, taken[t]]))
    steps = np.flatnonzero(plan.counts)
    return Earned(
        reward=float(payoff[steps, taken[steps]].mean()),
        accuracy=float(100 * ground.correct[plan.item, plan.regime][steps, taken[steps]].mean()),
        latency=float(ground.latency[taken[steps]].mean()),
        fixed=float(payoff[steps].mean(axis=0).max()),
    )
