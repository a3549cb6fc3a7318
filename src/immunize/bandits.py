"""Learning from the reward of the action taken alone: contexts by linear models, none by weights."""

from __future__ import annotations

from math import e, exp, log, sqrt

import numpy as np
from jaxtyping import Float
from scipy.linalg.blas import dger

Context = Float[np.ndarray, " d"]


class Linear:
    """A ridge regression of the reward for each arm, kept as inverse and sum: Sherman-Morrison, O(d^2) a reward.

    discount: what an older reward of the same arm weighs after a newer one, (inverse A / discount); the regularization
    fades with it, so it is put back when the inverse has grown by `GROWTH`.
    """

    GROWTH = 1e3

    def __init__(self, width: int, arms: int, ridge: float = 1.0, discount: float = 1.0) -> None:
        self.ridge, self.discount = ridge, discount
        self.inverse = np.repeat(np.eye(width)[None] / ridge, arms, axis=0)
        self.sum = np.zeros((arms, width))
        self.weight = np.zeros((arms, width))

    def learn(self, x: Context, arm: int, reward: float) -> None:
        """A <- discount A + x x', b <- discount b + r x; weight = A^-1 b."""
        inverse = self.inverse[arm]
        if self.discount < 1:
            inverse /= self.discount
        u = inverse @ x
        dger(-1 / (1 + x @ u), u, u, a=inverse.T, overwrite_a=True)  # in place: numpy's outer would take three passes
        if self.discount < 1 and np.trace(inverse) > self.GROWTH * len(x) / self.ridge:
            inverse[:] = np.linalg.inv(np.linalg.inv(inverse) + self.ridge * np.eye(len(x)))
        self.sum[arm] = self.discount * self.sum[arm] + reward * x
        self.weight[arm] = inverse @ self.sum[arm]

    def spread(self, x: Context) -> Float[np.ndarray, " k"]:
        """sqrt(x' A^-1 x) of each arm: how little is known in this direction."""
        arms, width = self.sum.shape  # as one matrix: numpy hands a stack of them to no fast library
        return np.sqrt(np.maximum((self.inverse.reshape(-1, width) @ x).reshape(arms, width) @ x, 0))


class LinUcb:
    """argmax_k w_k x + width sqrt(x' A_k^-1 x) (Li et al. 2010, arXiv:1003.0146 alg. 1)."""

    def __init__(self, model: Linear, width: float) -> None:
        self.model, self.width = model, width

    def values(self, x: Context) -> Float[np.ndarray, " k"]:
        return self.model.weight @ x + self.width * self.model.spread(x)

    def learn(self, x: Context, arm: int, reward: float) -> None:
        self.model.learn(x, arm, reward)


class LinThompson:
    """argmax_k of a draw from N(w_k x, width^2 x' A_k^-1 x) (Agrawal & Goyal, arXiv:1209.3352), arms being independent."""

    def __init__(self, model: Linear, width: float, rng: np.random.Generator) -> None:
        self.model, self.width, self.rng = model, width, rng

    def values(self, x: Context) -> Float[np.ndarray, " k"]:
        spread = self.width * self.model.spread(x)
        return self.model.weight @ x + spread * self.rng.standard_normal(len(spread))

    def learn(self, x: Context, arm: int, reward: float) -> None:
        self.model.learn(x, arm, reward)


class Exp3S:
    """w_i <- w_i exp(gamma r_i / (p_i K)) + (e share / K) sum w (Auer et al. 2002, sec. 8): follows a best arm that moves.

    Rewards in [0, 1]. gamma: share of even choices. share: what every arm gets of the weights, 1 / horizon in the paper.
    """

    def __init__(self, arms: int, rng: np.random.Generator, gamma: float = 0.1, share: float = 1e-3) -> None:
        self.rng, self.gamma, self.share = rng, gamma, share
        self.weight = np.full(arms, 1 / arms)

    @property
    def chance(self) -> Float[np.ndarray, " k"]:
        return (1 - self.gamma) * self.weight / self.weight.sum() + self.gamma / len(self.weight)

    def choose(self) -> int:
        return min(int(np.searchsorted(np.cumsum(self.chance), self.rng.random())), len(self.weight) - 1)

    def learn(self, arm: int, reward: float) -> None:
        """Raises ValueError for a reward outside [0, 1]."""
        if not 0 <= reward <= 1:
            raise ValueError(f"Exp3.S takes rewards in [0, 1], and this one is {reward}: scale it before")
        count, whole = len(self.weight), self.weight.sum()
        factor = np.ones(count)
        factor[arm] = exp(self.gamma * reward / (self.chance[arm] * count))
        self.weight = self.weight * factor + e * self.share / count * whole
        self.weight /= self.weight.sum()


class DiscountedUcb:
    """argmax mean_i + width sqrt(xi log n / n_i), counts and sums fading by `discount` (Garivier & Moulines, 0805.3415)."""

    def __init__(self, arms: int, discount: float = 0.95, width: float = 0.5, xi: float = 0.6) -> None:
        self.discount, self.width, self.xi = discount, width, xi
        self.count, self.sum = np.zeros(arms), np.zeros(arms)

    def choose(self) -> int:
        """An arm that was never tried first, else the one that may be best."""
        if (self.count == 0).any():
            return int((self.count == 0).argmax())
        mean = self.sum / self.count
        whole = max(float(self.count.sum()), 1.0)
        return int((mean + 2 * self.width * np.sqrt(self.xi * log(whole) / self.count)).argmax())

    def learn(self, arm: int, reward: float) -> None:
        self.count *= self.discount
        self.sum *= self.discount
        self.count[arm] += 1
        self.sum[arm] += reward


def horizon(arms: int, rounds: int, switches: int) -> tuple[float, float]:
    """(gamma, share) of Exp3.S for a known number of rounds and switches (Auer et al. 2002, cor. 8.2)."""
    gamma = sqrt(arms * (switches * log(arms * rounds) + e) / ((e - 1) * rounds))
    return min(1.0, gamma), 1 / rounds
