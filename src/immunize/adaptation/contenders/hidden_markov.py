"""Filter the regime, then act greedily: optimal where regimes switch by themselves and actions change nothing."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from immunize.adaptation.payoffs import Table
from immunize.adaptation.policy import Observation, Policy, Still
from immunize.adaptation.world import Taken, World
from immunize.config import frozen


class Filter(Still):
    """belief <- (belief T) * N(whiten x; mean_z, 1), normalized; the action that pays most under it.

    columns: which of the observation are emitted. states: the regime of each state; one for each contamination.
    """

    def __init__(
        self,
        columns: np.ndarray,
        whiten: Float[np.ndarray, "d c"],
        mean: Float[np.ndarray, "z d"],
        transition: Float[np.ndarray, "z z"],
        payoff: Table,
        states: tuple[str, ...],
    ) -> None:
        self.columns, self.whiten, self.mean = columns, whiten, mean
        self.transition, self.payoff, self.states = transition, payoff, states
        self.begin(0)

    def begin(self, seed: int) -> None:
        self.belief = np.full(len(self.mean), 1 / len(self.mean))
        self.values = np.zeros(self.payoff.shape[1])

    def act(self, observation: Observation) -> int:
        self.belief = self.belief @ self.transition * self.likelihood(observation)
        self.belief /= self.belief.sum()
        self.values = self.belief @ self.payoff
        return int(self.values.argmax())

    def likelihood(self, observation: Observation) -> Float[np.ndarray, " z"]:
        """Up to a factor, and not below 1e-30: one batch never rules a regime out for good."""
        distance = 0.5 * ((self.whiten @ observation[self.columns] - self.mean) ** 2).sum(axis=1)
        return np.maximum(np.exp(distance.min() - distance), 1e-30)


@frozen
class HiddenMarkov:
    """A state is a regime with its contamination; Gaussian emissions of the batch with one covariance, from training streams.

    shrink: share of the covariance that is its diagonal. Staying has the frequency seen; leaving is even among the others.
    """

    shrink: Annotated[float, Field(ge=0, le=1)] = 0.1
    streams: Annotated[int, Field(ge=1)] = 20
    kind: Literal["hidden_markov"] = "hidden_markov"

    def fit(self, world: World, seed: int) -> Policy:
        taken = world.taken(seed, self.streams)
        columns = np.arange(world.observer.free)
        if world.paying or world.rules.looking is None:
            columns = np.r_[columns, np.arange(world.width - len(world.observer.paid), world.width)]
        keys = np.stack([taken.regimes, taken.shares], axis=1)
        states, label = np.unique(keys, axis=0, return_inverse=True)
        label = label.reshape(-1)
        x, count = taken.contexts[:, columns], np.bincount(label)[:, None]
        mean, payoff = _sums(x, label) / count, _sums(taken.rewards, label) / count
        whiten = _whitening(x - mean[label], self.shrink)
        names = tuple(world.payoffs.regimes[int(z)] for z in states[:, 0])
        return Filter(columns, whiten, mean @ whiten.T, _transition(taken, label, len(states)), payoff, names)


def _sums(x: Float[np.ndarray, "t d"], label: np.ndarray) -> Float[np.ndarray, "z d"]:
    """The sum of the rows of each label."""
    return np.stack([np.bincount(label, weights=column) for column in x.T], axis=1)


def _whitening(residual: Float[np.ndarray, "t d"], shrink: float) -> Float[np.ndarray, "d d"]:
    """W with W C W' = 1 for the shrunk covariance C."""
    covariance = residual.T @ residual / len(residual)
    diagonal = np.diag(np.diag(covariance)) + 1e-6 * np.eye(len(covariance))
    return np.linalg.inv(np.linalg.cholesky((1 - shrink) * covariance + shrink * diagonal))


def _transition(taken: Taken, label: np.ndarray, count: int) -> Float[np.ndarray, "z z"]:
    """The frequency of staying on the diagonal, the rest even."""
    if count == 1:
        return np.ones((1, 1))
    inside = ~taken.starts[1:]
    leave = (1 + (label[1:] != label[:-1])[inside].sum()) / (2 + inside.sum())
    return np.where(np.eye(count, dtype=bool), 1 - leave, leave / (count - 1))
