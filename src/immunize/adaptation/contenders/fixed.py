"""Contenders that look at nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from immunize.adaptation.payoffs import Table
from immunize.adaptation.policy import Observation, Policy, Still
from immunize.adaptation.world import World
from immunize.config import frozen


class Always(Still):
    """One action."""

    def __init__(self, action: int) -> None:
        self.action = action

    def act(self, observation: Observation) -> int:
        return self.action


class Mixing(Still):
    """A draw for each batch."""

    def __init__(self, chance: Float[np.ndarray, " a"]) -> None:
        self.whole = np.cumsum(chance)
        self.rng = np.random.default_rng(0)

    def begin(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> int:
        return min(int(np.searchsorted(self.whole, self.rng.random() * self.whole[-1])), len(self.whole) - 1)


class Turning(Still):
    """Each action in turn."""

    def __init__(self, count: int) -> None:
        self.count, self.t = count, -1

    def begin(self, seed: int) -> None:
        self.t = seed % self.count

    def act(self, observation: Observation) -> int:
        self.t += 1
        return self.t % self.count


@frozen
class Random:
    """Any action with the same chance, for each batch anew: G = 0."""

    kind: Literal["random"] = "random"

    def fit(self, world: World, seed: int) -> Policy:
        return Mixing(np.full(world.actions, 1 / world.actions))


@frozen
class Uniform:
    """All actions equally often, in turn: the uniform mixture without its luck."""

    kind: Literal["uniform"] = "uniform"

    def fit(self, world: World, seed: int) -> Policy:
        return Turning(world.actions)


@frozen
class Fixed:
    """One action, whatever comes. Raises ValueError for a name that is no action."""

    action: str
    kind: Literal["fixed"] = "fixed"

    def fit(self, world: World, seed: int) -> Policy:
        if self.action not in world.payoffs.actions:
            raise ValueError(f"fixed: no action {self.action!r}; here are {list(world.payoffs.actions)}")
        return Always(world.payoffs.actions.index(self.action))


@frozen
class BestFixed:
    """The action that earns most over `streams` training streams: the static defense to beat."""

    streams: int = 20
    kind: Literal["best_fixed"] = "best_fixed"

    def fit(self, world: World, seed: int) -> Policy:
        rewards = world.taken(seed, self.streams).rewards.mean(axis=0)
        if world.refuses >= 0:
            rewards[world.refuses] = -np.inf  # a quota forbids to abstain always
        return Always(int(rewards.argmax()))


@frozen
class Maximin:
    """The mixture with the highest reward in the worst regime, costs of latency included: max_p min_z sum_a p_a r[z, a]."""

    kind: Literal["maximin"] = "maximin"

    def fit(self, world: World, seed: int) -> Policy:
        return Mixing(maximin(world.table[world.reigning] - world.price)[0])


def maximin(table: Table) -> tuple[Float[np.ndarray, " a"], float]:
    """(mixture, value) of the zero-sum game against who chooses the regime, by linear programming."""
    z, a = table.shape
    found = linprog(
        np.r_[np.zeros(a), -1],
        A_ub=np.c_[-table, np.ones(z)],
        b_ub=np.zeros(z),
        A_eq=[np.r_[np.ones(a), 0]],
        b_eq=[1],
        bounds=[(0, 1)] * a + [(None, None)],
    )
    return np.maximum(found.x[:-1], 0), float(found.x[-1])
