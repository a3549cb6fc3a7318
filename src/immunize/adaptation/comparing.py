"""Contenders on the same streams, and differences between them with intervals from the streams, which are paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import joblib
import numpy as np
from jaxtyping import Float

from immunize.adaptation.gain import Summary, median, summarize
from immunize.adaptation.playing import Feedback, play
from immunize.adaptation.policy import Contender, Policy
from immunize.adaptation.world import World
from immunize.metrics.interval import Interval

Measure = Callable[[Summary], float]
STREAMS, SEEDS = range(10_000, 10_020), range(5)  # test streams, far from those that contenders are fitted on


@dataclass(frozen=True, slots=True)
class Played:
    """One contender: `runs[seed][stream]`, seeds of its training and of the test streams."""

    runs: tuple[tuple[Summary, ...], ...]

    def of(self, measure: Measure) -> Float[np.ndarray, " s"]:
        """The measure on each stream, mean over training seeds; nan of a run is left out, unless there is nothing else."""
        return known_mean(np.array([[measure(run) for run in row] for row in self.runs]))

    def mean(self, measure: Measure) -> float:
        return float(known_mean(self.of(measure)[:, None])[0])

    @property
    def lag(self) -> float:
        """Kaplan-Meier median over all stays of all runs."""
        return median([run.lags for row in self.runs for run in row])

    @property
    def censored(self) -> float:
        """Share of stays never adapted to."""
        reached = np.concatenate([run.lags.reached for row in self.runs for run in row])
        return float(1 - reached.mean()) if len(reached) else float("nan")

    @property
    def by_regime(self) -> Float[np.ndarray, " z"]:
        """G under each regime, mean over the runs in which it came up; nan for one that never did."""
        return known_mean(np.array([run.by_regime for row in self.runs for run in row]))

    @property
    def curve(self) -> Float[np.ndarray, " k"]:
        """Regret so far at the `marks` of a stream, mean over all runs."""
        return np.array([run.curve for row in self.runs for run in row]).mean(axis=0)

    @property
    def worst(self) -> float:
        """The lowest of the regimes' payoffs, each a mean over the runs in which it came up."""
        return float(np.nanmin(known_mean(np.array([run.payoff_by_regime for row in self.runs for run in row]))))


def known_mean(values: Float[np.ndarray, "r s"]) -> Float[np.ndarray, " s"]:
    """Mean of each column's numbers; nan where it has none."""
    there = np.isfinite(values)
    whole = np.where(there, values, 0).sum(axis=0)
    return np.where(there.any(axis=0), whole / np.maximum(there.sum(axis=0), 1), np.nan)


def judged(
    contender: Contender,
    train: World,
    test: World,
    streams: Sequence[int] = STREAMS,
    seeds: Sequence[int] = SEEDS,
    feedback: Feedback | None = None,
    fitted: Mapping[int, Policy] = MappingProxyType({}),
) -> Played:
    """Fitted once for each training seed, then played on every test stream; a policy that another seed gave too plays once.

    fitted: seed -> a policy that is known already.
    """
    known: dict[str, tuple[Summary, ...]] = {}
    runs = []
    for seed in seeds:
        policy = fitted[seed] if seed in fitted else contender.fit(train, seed)
        same = joblib.hash(policy)  # of a learner that has played already: as it has become
        if same not in known:
            known[same] = tested(policy, test, streams, feedback)
        runs.append(known[same])
    return Played(tuple(runs))


def tested(
    policy: Policy, test: World, streams: Sequence[int] = STREAMS, feedback: Feedback | None = None
) -> tuple[Summary, ...]:
    """A fitted policy on every stream."""
    return tuple(summarize(play(test, policy, seed, feedback), test) for seed in streams)


def study(
    contenders: Mapping[str, Contender],
    train: World,
    test: World,
    streams: Sequence[int] = STREAMS,
    seeds: Sequence[int] = SEEDS,
) -> dict[str, Played]:
    """All of them on the same streams."""
    return {name: judged(one, train, test, streams, seeds) for name, one in contenders.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """mean of a - b over streams, and a 95 % interval."""

    mean: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.interval.low:+.3f}, {self.interval.high:+.3f}]"


def difference(a: Played, b: Played, measure: Measure, samples: int = 2000, level: float = 0.95) -> Difference:
    """Paired percentile bootstrap on the stream seed: both saw the same streams, so each stream gives one difference.

    A stream without headroom, where G is nan, is left out, unless there is nothing else. Raises ValueError where they did
    not play equally many.
    """
    left, right = a.of(measure), b.of(measure)
    if left.shape != right.shape:
        raise ValueError(f"only contenders on the same streams can be compared: {len(left)} and {len(right)}")
    gaps = left - right
    known = gaps[np.isfinite(gaps)]
    return paired(known if len(known) else gaps, samples, level)


def paired(values: Float[np.ndarray, " s"], samples: int = 2000, level: float = 0.95) -> Difference:
    """The mean of one difference a stream with its percentile bootstrap."""
    draws = np.random.default_rng(0).integers(len(values), size=(samples, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), ((1 - level) / 2, (1 + level) / 2)).tolist()
    return Difference(float(values.mean()), Interval(low, high))


def table(played: Mapping[str, Played]) -> str:
    """Text: one line a contender, G, regret, median lag, share never adapted, earned, worst regime, latency, switches."""
    head = ("", "G", "regret", "lag", "never", "earned", "worst", "clean cost", "ms", "switches", "us")
    lines = [head, *(_line(name, one) for name, one in played.items())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    first, *rest = widths
    return "\n".join(
        line[0].ljust(first) + "  " + "  ".join(c.rjust(w) for c, w in zip(line[1:], rest)) for line in lines
    )


def _line(name: str, one: Played) -> tuple[str, ...]:
    def show(measure: Measure, digits: int = 2) -> str:
        return f"{one.mean(measure):.{digits}f}"

    return (
        name,
        show(lambda s: s.gain),
        show(lambda s: s.regret, 0),
        f"{one.lag:g}",
        f"{one.censored:.2f}",
        show(lambda s: s.earned),
        f"{one.worst:.2f}",
        show(lambda s: s.clean_cost),
        show(lambda s: s.latency[0], 1),
        show(lambda s: s.switches, 0),
        show(lambda s: s.thinking, 0),
    )
