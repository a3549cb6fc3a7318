"""Contenders that learn while they serve, from the reward of what they did: a label for each batch that teaches."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from immunize.adaptation.policy import Observation, Policy
from immunize.adaptation.world import World
from immunize.bandits import Exp3S, Linear, LinThompson, LinUcb
from immunize.config import frozen

Positive = Annotated[float, Field(gt=0)]
Discount = Annotated[float, Field(gt=0, le=1)]
ONE = np.ones(1)  # the constant of a linear model


class Contextual:
    """A linear bandit on the columns of the traffic and a constant; every stream starts from what was fitted."""

    def __init__(self, learner: LinUcb | LinThompson, width: int, online: bool) -> None:
        self.fitted, self.width, self.online = learner, width, online
        self.values = np.zeros(len(learner.model.weight))
        self.learner = learner

    def begin(self, seed: int) -> None:
        self.learner = deepcopy(self.fitted)
        if isinstance(self.learner, LinThompson):
            self.learner.rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> int:
        self.values = self.learner.values(self._context(observation))
        return int(self.values.argmax())

    def learn(self, observation: Observation, action: int, reward: float) -> None:
        if self.online:
            self.learner.learn(self._context(observation), action % len(self.values), reward)

    def _context(self, observation: Observation) -> Float[np.ndarray, " k"]:
        return np.concatenate((ONE, observation[: self.width]))


class Weighing:
    """Exp3.S, which looks at nothing but what it earned, within `low` and `high`."""

    def __init__(self, arms: int, gamma: float, share: float, low: float, high: float) -> None:
        self.arms, self.gamma, self.share, self.low, self.high = arms, gamma, share, low, high
        self.begin(0)

    def begin(self, seed: int) -> None:
        self.learner = Exp3S(self.arms, np.random.default_rng(seed), self.gamma, self.share)

    def act(self, observation: Observation) -> int:
        return self.learner.choose()

    def learn(self, observation: Observation, action: int, reward: float) -> None:
        scaled = (reward - self.low) / (self.high - self.low)
        self.learner.learn(action % self.arms, min(1.0, max(0.0, scaled)))


@frozen
class LinearUcb:
    """LinUCB, `discount` .995 for one that forgets. warm: training streams played before; online: it goes on learning."""

    width: Positive = 0.3
    ridge: Positive = 1.0
    discount: Discount = 1.0
    warm: Annotated[int, Field(ge=0)] = 0
    online: bool = True
    kind: Literal["linear_ucb"] = "linear_ucb"

    def fit(self, world: World, seed: int) -> Policy:
        model = Linear(world.width + 1, world.actions, self.ridge, self.discount)
        return _warmed(LinUcb(model, self.width), world, seed, self.warm, self.online)


@frozen
class Thompson:
    """Linear Thompson sampling, otherwise as LinUCB."""

    width: Positive = 0.3
    ridge: Positive = 1.0
    discount: Discount = 1.0
    warm: Annotated[int, Field(ge=0)] = 0
    online: bool = True
    kind: Literal["thompson"] = "thompson"

    def fit(self, world: World, seed: int) -> Policy:
        model = Linear(world.width + 1, world.actions, self.ridge, self.discount)
        learner = LinThompson(model, self.width, np.random.default_rng(seed))
        return _warmed(learner, world, seed, self.warm, self.online)


@frozen
class Shifting:
    """Exp3.S: gamma and share as for a horizon of 1,500 batches and 15 switches would be .7; less explores less."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.15
    share: Annotated[float, Field(ge=0)] = 1e-3
    kind: Literal["exp3_s"] = "exp3_s"

    def fit(self, world: World, seed: int) -> Policy:
        low, high = np.quantile(world.reward, (0.05, 0.95)).tolist()
        return Weighing(world.actions, self.gamma, self.share, low, max(high, low + 1e-6))


def _warmed(learner: LinUcb | LinThompson, world: World, seed: int, streams: int, online: bool) -> Policy:
    """The bandit after it played `streams` training streams, in which its actions changed nothing but what it learnt."""
    policy = Contextual(learner, world.width, online)
    if streams:
        taken = world.taken(seed, streams)
        for context, rewards in zip(taken.contexts, taken.rewards):
            x = np.concatenate((ONE, context))
            arm = int(learner.values(x).argmax())
            learner.learn(x, arm, float(rewards[arm]))
    return policy
