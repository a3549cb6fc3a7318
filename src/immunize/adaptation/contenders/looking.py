"""A contender that pays for a better look at every batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from immunize.adaptation.policy import Contender, Observation, Policy
from immunize.adaptation.world import World


class Watching:
    """`inside`, each of whose actions comes with a look at the next batch; attributes other than calls are those inside."""

    def __init__(self, inside: Policy, actions: int) -> None:
        self.inside, self.actions = inside, actions
        self.values = np.zeros(actions)

    def begin(self, seed: int) -> None:
        self.inside.begin(seed)

    def act(self, observation: Observation) -> int:
        return self.inside.act(observation) + self.actions

    def learn(self, observation: Observation, action: int, reward: float) -> None:
        self.inside.learn(observation, action % self.actions, reward)


class Looking:
    """`inside`, fitted and serving with every batch looked at; only for rules under which looking has a price."""

    def __init__(self, inside: Contender) -> None:
        self.inside = inside

    def fit(self, world: World, seed: int) -> Policy:
        if world.rules.looking is None:
            raise ValueError("looking: these rules give the paid features for nothing; use the contender itself")
        return Watching(self.inside.fit(replace(world, paying=True), seed), world.actions)
