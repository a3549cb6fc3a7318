"""One policy through one stream, and what happened batch by batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from immunize.adaptation.environment import Defending, Observation
from immunize.adaptation.policy import Knowing, Policy
from immunize.adaptation.world import World
from immunize.config import frozen

Share = Annotated[float, Field(ge=0, le=1)]
Watch = Callable[[int, Observation, int], None]  # batch, what was seen, the action chosen


@frozen
class Feedback:
    """Who learns online is told the reward of a share `supply` of the batches, `delay` batches late; `flipped` of these
    come with the opposite sign, which is what poisoned canaries do."""

    supply: Share = 1.0
    delay: Annotated[int, Field(ge=0)] = 0
    flipped: Share = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """A stream as it was played. payoff: scaled, without noise and costs, of each action there. earned: with both.

    correct and literal: expected share of right answers and unscaled R_literal of what was served. latency: ms a pair.
    seconds: what the policy took to act, a batch.
    """

    regime: Int[np.ndarray, " t"]
    served: Int[np.ndarray, " t"]
    payoff: Float[np.ndarray, "t a"]
    earned: Float[np.ndarray, " t"]
    correct: Float[np.ndarray, " t"]
    literal: Float[np.ndarray, " t"]
    latency: Float[np.ndarray, " t"]
    seconds: float


def play(world: World, policy: Policy, seed: int, feedback: Feedback | None = None, watch: Watch | None = None) -> Run:
    """The stream of `seed`; the same seed gives every policy the same one, an attacker's choices excepted."""
    environment, feedback = Defending(world), feedback or Feedback()
    observation, _ = environment.reset(seed=seed)
    policy.begin(seed)
    if isinstance(policy, Knowing):
        policy.know(environment)
    rng = np.random.default_rng([seed, 1])
    told = (rng.random(environment.length) < feedback.supply).tolist()
    flip = (rng.random(environment.length) < feedback.flipped).tolist()
    late: deque[tuple[int, Observation, int, float]] = deque()
    earned, seconds, ended = [], 0.0, False
    while not ended:
        t, start = environment.t, perf_counter()
        action = policy.act(observation)
        seconds += perf_counter() - start
        if watch is not None:
            watch(t, observation, action)
        following, reward, _, ended, _ = environment.step(action)
        earned.append(reward)
        if told[t]:
            late.append((t, observation, action, -reward if flip[t] else reward))
        while late and late[0][0] + feedback.delay <= t:
            policy.learn(*late.popleft()[1:])
        observation = following
    return _record(environment, np.array(earned), seconds / environment.length)


def _record(environment: Defending, earned: Float[np.ndarray, " t"], seconds: float) -> Run:
    world, regime, served = environment.world, environment.regime, environment.served
    at = np.arange(len(served))
    tables = (world.payoffs.correct.mean(axis=0), world.payoffs.literal.mean(axis=0))
    correct, literal = (environment.episode.mixed(table, regime, world.clean)[at, served] for table in tables)
    return Run(regime, served, environment.payoffs, earned, correct, literal, world.payoffs.latency[served], seconds)
