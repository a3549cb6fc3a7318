"""Yardsticks that see what no player may: the regime, or the whole stream before it has come."""

from __future__ import annotations

from typing import Literal

from immunize.adaptation.environment import Defending
from immunize.adaptation.policy import Observation, Policy, Still
from immunize.adaptation.world import World
from immunize.config import frozen


class Seer(Still):
    """The best action under the regime that reigns; greedy, so with costs of switching it is no upper bound."""

    def know(self, environment: Defending) -> None:
        self.environment = environment

    def act(self, observation: Observation) -> int:
        return int(self.environment.offered.argmax())


class Afterwards(Still):
    """The one action that was best in this very stream; an attacker's stream is not known before, its chance stream is."""

    def know(self, environment: Defending) -> None:
        world = environment.world
        earned = environment.episode.mixed(world.table, environment.episode.regime, world.clean).mean(axis=0)
        self.action = int((earned - world.price).argmax())

    def act(self, observation: Observation) -> int:
        return self.action


@frozen
class Oracle:
    """Knows the regime: G = 1."""

    kind: Literal["oracle"] = "oracle"

    def fit(self, world: World, seed: int) -> Policy:
        return Seer()


@frozen
class Hindsight:
    """Best fixed in hindsight: the action chosen after the stream is over, and played in it."""

    kind: Literal["hindsight"] = "hindsight"

    def fit(self, world: World, seed: int) -> Policy:
        return Afterwards()
