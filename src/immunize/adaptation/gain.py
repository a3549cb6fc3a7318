"""What a policy gained over chance, of what there was to gain; how long it took; what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from jaxtyping import Bool, Float, Int

from immunize.adaptation.playing import Run
from immunize.adaptation.world import World

NOTHING = 1e-9  # headroom under which a regime has nothing to gain
WINDOW, LEVEL, SHORTEST = 5, 0.9, 15
MARKS = 50  # points of a regret curve


def gain(run: Run, rows: Bool[np.ndarray, " t"] | None = None) -> float:
    """G = (R_policy - R_random) / (R_oracle - R_random) summed over the batches `rows` (all); nan without headroom.

    R are payoffs without noise and costs, so 0 is a random action's mean and 1 the oracle's, exactly. Rewards are
    negative: a share of the oracle's would mean nothing.
    """
    rows = np.ones(len(run.served), dtype=bool) if rows is None else rows
    got, best, chance = _parts(run)
    whole = float((best - chance)[rows].sum())
    return float((got - chance)[rows].sum()) / whole if whole > NOTHING else nan


def regret(run: Run) -> Float[np.ndarray, " t"]:
    """Sum so far of max_a payoff - payoff of what was served."""
    got, best, _ = _parts(run)
    return np.cumsum(best - got)


def marks(length: int) -> Int[np.ndarray, " k"]:
    """The batches at which a curve over a stream is kept: MARKS of them evenly spaced, the last one included."""
    return np.unique(np.linspace(0, length - 1, MARKS).round().astype(int))


@dataclass(frozen=True, slots=True)
class Lags:
    """Batches from a switch until the mean gain over 5 batches reached .9, or, where it never did, that could have shown it.

    reached: False is censored: the lag is longer than that.
    """

    batches: Float[np.ndarray, " s"]
    reached: Bool[np.ndarray, " s"]

    @property
    def censored(self) -> float:
        """Share of the stays to which the policy never adapted; nan where there was none."""
        return float(1 - self.reached.mean()) if len(self.reached) else nan


def lags(run: Run, window: int = WINDOW, level: float = LEVEL, shortest: int = SHORTEST) -> Lags:
    """One for each stay after a switch, those shorter than `shortest` batches and those without headroom left out."""
    got, best, chance = _parts(run)
    cuts = np.flatnonzero(np.diff(run.regime)) + 1
    batches, reached = [], []
    for start, stop in zip(cuts, [*cuts[1:], len(run.regime)]):
        if stop - start < shortest or (best - chance)[start:stop].min() <= NOTHING:
            continue
        share = ((got - chance) / np.maximum(best - chance, NOTHING))[start:stop]
        mean = np.convolve(share, np.full(window, 1 / window), mode="valid")
        first = np.flatnonzero(mean >= level - 1e-12)
        batches.append(float(first[0]) if len(first) else float(len(mean)))
        reached.append(bool(len(first)))
    return Lags(np.array(batches, dtype=float), np.array(reached, dtype=bool))


def median(found: Sequence[Lags]) -> float:
    """Kaplan-Meier median lag: the first k with prod over i <= k of (1 - reached_i / at risk_i) <= 1/2; inf if none."""
    batches = np.concatenate([one.batches for one in found]) if found else np.zeros(0)
    reached = np.concatenate([one.reached for one in found]) if found else np.zeros(0, dtype=bool)
    alive = 1.0
    for k in np.unique(batches[reached]):
        alive *= 1 - float(reached[batches == k].sum()) / float((batches >= k).sum())
        if alive <= 0.5 + 1e-12:
            return float(k)
    return inf


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in numbers. by_regime and regret_by_regime: nan where a regime did not come up.

    earned: mean scaled reward with noise and costs, the objective of B and C. clean_cost: scaled payoff lost on clean
    batches to the best action there. worst: lowest mean payoff of a regime. switches: changes of action per 1,000 batches.
    latency: mean and 95 % quantile in ms a pair. thinking: microseconds to act. abstained and correct: shares.
    curve: `regret` at the `marks`.
    """

    gain: float
    regret: float
    earned: float
    by_regime: Float[np.ndarray, " z"]
    regret_by_regime: Float[np.ndarray, " z"]
    payoff_by_regime: Float[np.ndarray, " z"]
    lags: Lags
    clean_cost: float
    worst: float
    switches: float
    latency: tuple[float, float]
    thinking: float
    abstained: float
    correct: float
    literal: float
    curve: Float[np.ndarray, " k"]


def summarize(run: Run, world: World) -> Summary:
    """All metrics of a run in `world`."""
    got, best, _ = _parts(run)
    count = len(world.payoffs.regimes)
    rows = [run.regime == z for z in range(count)]
    mean = np.array([got[r].mean() if r.any() else nan for r in rows])
    clean = rows[world.clean]
    return Summary(
        gain=gain(run),
        regret=float((best - got).sum()),
        earned=float(run.earned.mean()),
        by_regime=np.array([gain(run, r) if r.any() else nan for r in rows]),
        regret_by_regime=np.array([float((best - got)[r].sum()) if r.any() else nan for r in rows]),
        payoff_by_regime=mean,
        lags=lags(run),
        clean_cost=float((best - got)[clean].mean()) if clean.any() else nan,
        worst=float(np.nanmin(mean)),
        switches=1000 * float((np.diff(run.served) != 0).sum()) / len(run.served),
        latency=(float(run.latency.mean()), float(np.quantile(run.latency, 0.95))),
        thinking=1e6 * run.seconds,
        abstained=float((run.served == world.refuses).mean()),
        correct=float(run.correct.mean()),
        literal=float(run.literal.mean()),
        curve=regret(run)[marks(len(run.served))],
    )


def counts(served: Int[np.ndarray, " t"], actions: int) -> Int[np.ndarray, " a"]:
    """How often each action was served."""
    return np.bincount(served, minlength=actions)


def _parts(run: Run) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Payoffs of what was served, of the best and of a random action."""
    return run.payoff[np.arange(len(run.served)), run.served], run.payoff.max(axis=1), run.payoff.mean(axis=1)
