"""The stream as a gymnasium environment: drawn whole at reset, so that a step is indexing."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float, Int

from immunize.adaptation.observation import BOUND, Memory
from immunize.adaptation.rules import Bucket, Exp3
from immunize.adaptation.world import World

Observation = Float[np.ndarray, " d"]


class Defending(gymnasium.Env[np.ndarray, Any]):
    """One batch a step; action k < A answers with defense k, k + A too and pays for a better look at the next batch.

    The reward is R of the batch (true captions), scaled, less the costs of `Rules`. `info` holds what was `served`, which
    is action 0 where a budget did not allow the one chosen, and `plain`, the reward without costs. An episode ends by
    truncation after `Stream.length` batches. `regime`, `served`, `payoffs` are for who judges, not for who plays.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(self, world: World) -> None:
        self.world = world
        low = np.r_[np.full(world.width, -BOUND), np.zeros(world.actions + 2)]
        high = np.r_[np.full(world.width, BOUND), np.ones(world.actions + 2)]
        self.observation_space = Box(low.astype(np.float32), high.astype(np.float32))
        self.action_space = Discrete(world.choices)
        self._count, self._paid = world.actions, world.rules.looking is not None
        self._price, self._latency = world.price.tolist(), world.payoffs.latency.tolist()
        self._width, self._free = world.width, 3 * world.observer.free + len(world.observer.scores)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        """A new stream; the same seed gives the same one."""
        gymnasium.Env.reset(self, seed=seed)
        world, rules = self.world, self.world.rules
        stream = world.streams.next(world, self.np_random, seed)
        self.episode, self._now, self._earned = stream.episode, stream.now, stream.earned
        self.length = len(self.episode)
        self.regime = self.episode.regime.copy()
        self.served = np.zeros(self.length, dtype=int)
        self._rows = np.zeros((self.length + 1, world.shape), dtype=np.float32)
        self.attacker = Exp3(rules.attacker, len(world.reigning), stream.draws) if rules.attacker else None
        self.refusals, self.spending = (
            Bucket(rules.abstentions, rules.window),
            Bucket(rules.budget, rules.window),
        )
        self.t, self.last, self._looks = 0, -1, False
        if stream.rows is None:
            self._low, self._high = np.quantile(self._earned, (0.01, 0.99)).tolist()
            self._memory, self._hidden = Memory(world.observer), None
            self._advance(0)
        else:
            self._rows[:, : self._width] = stream.rows
            self._hidden = stream.rows[:, self._free :] if self._paid else None
            if self._paid:
                self._rows[:, self._free : self._width] = 0
        self._tail(0)
        return self._rows[0], {}

    def step(self, action: int | np.integer) -> tuple[Observation, float, bool, bool, dict]:
        """Serve batch t and see batch t + 1."""
        look, wanted = divmod(int(action), self._count)
        served = wanted if self._affordable(wanted) else 0
        self.refusals.take(1.0 if served == self.world.refuses else 0.0)
        self.spending.take(self._latency[served])
        t = self.t
        plain = float(self._earned[t, 0 if self.attacker is None else self.attacker.last, served])
        reward = plain - self._price[served]
        if self.last >= 0 and served != self.last:
            reward -= self.world.rules.switching
        if look:
            reward -= self.world.rules.looking or 0.0
        self.served[t], self.last, self._looks = served, served, bool(look)
        self.t = t = t + 1
        if self.attacker is not None:
            self.attacker.learn(self._loss(plain))
            if t < self.length:
                self._advance(t)
        self._tail(t)
        return self._rows[t], reward, False, t >= self.length, {"served": served, "plain": plain}

    @property
    def payoffs(self) -> Float[np.ndarray, "t a"]:
        """Scaled payoffs without noise or costs of the batches so far, as the regimes came."""
        return self.episode.mixed(self.world.table, self.regime, self.world.clean)[: self.t or self.length]

    @property
    def offered(self) -> Float[np.ndarray, " a"]:
        """What each action would earn now, without noise, its latency paid: for an oracle."""
        share, table = self.episode.share[self.t], self.world.table
        return share * table[self.regime[self.t]] + (1 - share) * table[self.world.clean] - self.world.price

    def _advance(self, t: int) -> None:
        """The attacker's batch t comes in."""
        assert self.attacker is not None
        choice = self.attacker.choose(t)
        self.regime[t] = self.world.reigning[choice]
        now = self._now[t, choice]
        if self._paid and not self._looks:
            now = np.r_[now[: self.world.observer.free], np.zeros(len(self.world.observer.paid))]
        self._rows[t, : self._width] = self._memory.see(now)

    def _affordable(self, action: int) -> bool:
        if action == self.world.refuses:
            return self.refusals.allows(1.0)
        return self.spending.allows(self._latency[action])

    def _loss(self, plain: float) -> float:
        """The attacker's gain in [0, 1]: what the defender did not earn, between the 1 and 99 % quantiles of all."""
        return min(1.0, max(0.0, (self._high - plain) / max(self._high - self._low, 1e-9)))

    def _tail(self, t: int) -> None:
        """What an observation says about oneself, and what was paid to see."""
        row, width = self._rows[t], self._width
        if self._looks and self._hidden is not None:
            row[self._free : width] = self._hidden[t]
        if self.last >= 0:
            row[width + self.last] = 1
        row[-2], row[-1] = self.refusals.share, self.spending.share


def regimes(environment: Defending) -> Int[np.ndarray, " t"]:
    """The regimes that reigned so far in the episode."""
    return environment.regime[: environment.t or environment.length]
