"""The rule that a practitioner would write: a score, two thresholds, three actions."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immunize.adaptation.policy import Observation, Policy, Still
from immunize.adaptation.world import World
from immunize.config import frozen


class Rule(Still):
    """Column `column` below both limits, between them, above them: one action each."""

    def __init__(self, column: int, limits: tuple[float, float], actions: tuple[int, int, int]) -> None:
        self.column, self.limits, self.actions = column, limits, actions

    def act(self, observation: Observation) -> int:
        value = observation[self.column]
        return self.actions[int(value > self.limits[0]) + int(value > self.limits[1])]


@frozen
class Threshold:
    """The limits and actions that earn most on training streams, of a score's batch mean, averaged at .25.

    score: which of the observer's scores, -1 the last one. grid: quantiles tried as limits.
    """

    score: int = -1
    grid: Annotated[int, Field(ge=2, le=100)] = 25
    streams: int = 20
    kind: Literal["threshold"] = "threshold"

    def fit(self, world: World, seed: int) -> Policy:
        taken = world.taken(seed, self.streams)
        column = world.observer.free + 4 * (self.score % len(world.observer.scores))
        order = taken.contexts[:, column].argsort()
        value, sums = taken.contexts[order, column], np.cumsum(taken.rewards[order], axis=0)
        sums = np.concatenate([np.zeros_like(sums[:1]), sums])
        cuts = np.linspace(0, len(order) - 1, self.grid).astype(int)
        best, found = -np.inf, (0, 0)
        for low, high in combinations_with_replacement(cuts.tolist(), 2):
            parts = sums[low + 1], sums[high + 1] - sums[low + 1], sums[-1] - sums[high + 1]
            if (earned := sum(part.max() for part in parts)) > best:
                best, found = earned, (low, high)
        low, high = found
        parts = sums[low + 1], sums[high + 1] - sums[low + 1], sums[-1] - sums[high + 1]
        a, b, c = (int(part.argmax()) for part in parts)
        return Rule(column, (float(value[low]), float(value[high])), (a, b, c))
