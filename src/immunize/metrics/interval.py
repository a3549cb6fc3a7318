"""Intervals around a percentage, from what was sampled: images, each with all of its captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist, fmean, stdev

import torch
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Interval:
    """Percent, low <= high."""

    low: float
    high: float

    def __contains__(self, value: int | float) -> bool:
        """low <= value <= high; where an end is nan nothing is left out. A gain whose interval holds 0 is not shown."""
        return not (value < self.low or value > self.high)


def bootstrap(
    hits: Bool[Tensor, " n"] | Float[Tensor, " n"],
    owner: Int[Tensor, " n"] | None = None,
    *,
    rng: torch.Generator,
    level: float = 0.95,
    samples: int = 1000,
) -> Interval:
    """Percentile bootstrap of 100 * mean(hits); outcomes with the same `owner` are drawn together.

    hits: whether each was right, or of two that were asked the same the difference of these, -1, 0 or 1.
    Captions of one image are not independent: drawn one by one they would give an interval that is too narrow.
    Without `owner`, each outcome is its own cluster. Raises ValueError on no outcome.
    """
    if not len(hits):
        raise ValueError("an interval needs at least one outcome; the split is empty")
    owner = torch.arange(len(hits)) if owner is None else owner.unique(return_inverse=True)[1]
    size = owner.bincount().double()
    right = owner.bincount(weights=hits.double())
    draw = torch.randint(len(size), (samples, len(size)), generator=rng)
    rate = 100.0 * right[draw].sum(1) / size[draw].sum(1)
    low, high = rate.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=rate.dtype)).tolist()
    return Interval(low, high)


def student(values: Sequence[float], level: float = 0.95) -> Interval:
    """mean ± t s / sqrt(n) with n - 1 degrees of freedom (Student 1908): what other draws of the seed would give.

    One value has no spread: the interval is infinite.
    """
    center, n = fmean(values), len(values)
    arm = inf if n < 2 else float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) / sqrt(n)
    return Interval(center - arm, center + arm)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson score interval of 100 * successes / n, sensible also at 0 and n (Wilson 1927, eq. 1)."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes among {n} is no proportion")
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = successes / n
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return Interval(100 * (center - half) if successes else 0.0, 100 * (center + half) if successes < n else 100.0)
