"""What acting costs: three versions of one problem, of which only the last two make an action matter later."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from math import exp
from typing import Annotated

from pydantic import Field

from immunize.adaptation.payoffs import Payoffs
from immunize.config import frozen

Cost = Annotated[float, Field(ge=0)]


@frozen
class Attacker:
    """Exp3 over the regimes (Auer et al. 2002, sec. 3): it sees what the last batch earned, and answers a batch later.

    rate: step of its weights. explore: share of its choices that are even.
    """

    rate: Annotated[float, Field(gt=0)] = 0.05
    explore: Annotated[float, Field(gt=0, le=1)] = 0.1


@frozen
class Rules:
    """Costs are in units of the headroom (`Scale`), latencies in ms a pair.

    latency_price: for each ms. switching: for each change of action. abstentions: share of a `window` that may abstain;
    budget: mean ms a pair that a window may take; who wants more than is left gets action 0. looking: price of the paid
    features of the next batch, which without it are there for nothing. attacker: chooses the regimes, in place of chance.
    """

    latency_price: Cost = 0.0
    switching: Cost = 0.0
    abstentions: Cost | None = None
    budget: Annotated[float, Field(gt=0)] | None = None
    window: Annotated[int, Field(ge=1)] = 100
    looking: Cost | None = None
    attacker: Attacker | None = None


def versions(payoffs: Payoffs) -> dict[str, Rules]:
    """A: regimes switch by themselves, nothing else. B: costs and budgets. C: an attacker reacts.

    B's latency budget is halfway from the fastest action that answers to the mean of all; its price makes the slowest
    cost a tenth of the headroom.
    """
    answering = payoffs.latency[payoffs.latency > 0]
    if not len(answering):
        return {
            "A": Rules(),
            "B": Rules(switching=0.05, abstentions=0.05, looking=0.02),
            "C": Rules(attacker=Attacker()),
        }
    b = Rules(
        latency_price=0.1 / float(answering.max()),
        switching=0.05,
        abstentions=0.05,
        budget=float((answering.min() + answering.mean()) / 2),
        looking=0.02,
    )
    return {"A": Rules(), "B": b, "C": Rules(attacker=Attacker())}


class Exp3:
    """One attacker at work, its chance drawn before, a number a batch; what the defender earns is its loss."""

    def __init__(self, attacker: Attacker, regimes: int, draws: Sequence[float]) -> None:
        self.attacker, self.draws = attacker, draws
        self.log, self.chance, self.last = [0.0] * regimes, [1 / regimes] * regimes, -1

    def choose(self, t: int) -> int:
        """The regime of batch t."""
        self.last = min(bisect(list(accumulate(self.chance)), self.draws[t]), len(self.chance) - 1)
        return self.last

    def learn(self, gain: float) -> None:
        """`gain` in [0, 1], what its last choice took from the defender, weighed by how unlikely the choice was."""
        self.log[self.last] += self.attacker.rate * gain / self.chance[self.last]
        most, explore = max(self.log), self.attacker.explore
        weights = [exp(value - most) for value in self.log]  # a few numbers: lists are faster than arrays
        scale = (1 - explore) / sum(weights)
        self.chance = [scale * weight + explore / len(weights) for weight in weights]


class Bucket:
    """A budget that fills by `rate` a batch up to `window` batches' worth; full at the start, endless without a rate."""

    def __init__(self, rate: float | None, window: int) -> None:
        self.rate, self.most = rate, (rate or 0.0) * window
        self.left = self.most

    def allows(self, cost: float) -> bool:
        """Whether as much is left; who may always be served (`cost` 0) is never refused."""
        return self.rate is None or cost <= 0 or cost <= self.left + 1e-9

    def take(self, cost: float) -> None:
        """Pay and let a batch go by; what cannot be refused may leave a debt of at most a full bucket."""
        if self.rate is not None:
            self.left = max(-self.most, min(self.most, self.left - cost + self.rate))

    @property
    def share(self) -> float:
        """What is left, of a full bucket, not below 0; 1 where nothing is limited."""
        return max(self.left, 0.0) / self.most if self.rate and self.most else 1.0
