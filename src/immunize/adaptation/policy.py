"""What every contender can do once it is fitted: act on an observation, and be told what that earned."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from immunize.adaptation.environment import Defending
from immunize.adaptation.world import World

Observation = Float[np.ndarray, " d"]


@runtime_checkable
class Policy(Protocol):
    """One player; `begin` a stream, then `act` and `learn` in turn (or `learn` later, or never: labels are rare)."""

    def begin(self, seed: int) -> None:
        """A new stream: what was fitted stays, what an earlier stream taught is forgotten."""
        ...

    def act(self, observation: Observation) -> int:
        """An action of the environment."""
        ...

    def learn(self, observation: Observation, action: int, reward: float) -> None:
        """What `action` earned there."""
        ...


@runtime_checkable
class Knowing(Protocol):
    """A yardstick rather than a contender: it is shown the environment, with what no player may see."""

    def know(self, environment: Defending) -> None: ...


@runtime_checkable
class Believing(Protocol):
    """It can say which regime it believes in: one chance for each of `states`, whose names may repeat."""

    states: tuple[str, ...]
    belief: Float[np.ndarray, " z"]


@runtime_checkable
class Valuing(Protocol):
    """It can say what it expected of each action when it last acted."""

    values: Float[np.ndarray, " a"]


@runtime_checkable
class Contender(Protocol):
    """A frozen configuration: `fit` on the training world, nothing of which is the test's."""

    def fit(self, world: World, seed: int) -> Policy: ...


class Still:
    """What does not learn while it serves."""

    def begin(self, seed: int) -> None:
        """Nothing to forget."""

    def learn(self, observation: Observation, action: int, reward: float) -> None:
        """Nothing to learn."""
