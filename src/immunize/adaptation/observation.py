"""What a policy sees: one batch in numbers, the same remembered at two paces, and a statistic of change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field
from scipy.signal import lfilter

from immunize.adaptation.payoffs import Payoffs
from immunize.config import frozen

Rows = Float[np.ndarray, "t d"]
FAST, SLOW = 0.25, 0.05  # what a new batch weighs in the moving averages
DELTA, FORGET = 0.05, 0.98  # Page-Hinkley: the drift allowed for, in standard deviations, and the memory of the sum
RATES = np.array([[FAST], [SLOW]])
BOUND = 8.0  # standard deviations; no batch, and no attacker's, moves an observation further


@frozen
class Look:
    """Of the features `scores` mean, maximum, 10 and 90 % quantile, of the others the mean; `paid` cost further passes.

    alpha: share of clean pairs that may lie above the thresholds together, where no thresholds are given. skip: features
    left out.
    """

    scores: tuple[str, ...]
    paid: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05

    def fit(self, payoffs: Payoffs, clean: int, batch: int, rng: np.random.Generator) -> Observer:
        """Columns, thresholds and whitening from clean items. Raises ValueError for a name that is no feature."""
        if unknown := sorted({*self.scores, *self.paid, *self.skip} - set(payoffs.names)):
            raise ValueError(f"observation: {unknown} are no features of the payoffs; these are {list(payoffs.names)}")
        if self.thresholds and len(self.thresholds) != len(self.scores):
            raise ValueError(f"observation: {len(self.thresholds)} thresholds for {len(self.scores)} scores")
        left = {*self.scores, *self.paid, *self.skip}
        place = {name: i for i, name in enumerate(payoffs.names)}
        scores = np.array([place[name] for name in self.scores], dtype=int)
        still = payoffs.features[:, clean].astype(float)
        limits = np.quantile(still[:, scores], 1 - self.alpha / max(len(scores), 1), axis=0, method="higher")
        observer = Observer(
            scores=scores,
            means=np.array([i for name, i in place.items() if name not in left], dtype=int),
            paid=np.array([place[name] for name in self.paid], dtype=int),
            thresholds=np.array(self.thresholds, dtype=float) if self.thresholds else limits,
            center=np.zeros(0),
            spread=np.ones(0),
        )
        raw = observer.raw(still[rng.integers(len(still), size=(1000, batch))])
        return observer.whitened(raw)


@dataclass(frozen=True, slots=True)
class Observer:
    """features[b, f] -> `now`, whitened on clean batches; `remembered` adds moving averages and Page-Hinkley.

    The columns of `now`: four of each score, the mean of each other feature, the share that is flagged, and last the
    mean of each paid feature, which nothing remembers.
    """

    scores: Int[np.ndarray, " s"]
    means: Int[np.ndarray, " m"]
    paid: Int[np.ndarray, " p"]
    thresholds: Float[np.ndarray, " s"]
    center: Float[np.ndarray, " c"]
    spread: Float[np.ndarray, " c"]

    @property
    def free(self) -> int:
        """How many columns of `now` cost nothing more."""
        return 4 * len(self.scores) + len(self.means) + 1

    @property
    def width(self) -> int:
        """Columns of a remembered observation: free ones three times, a change of each score, paid ones once."""
        return 3 * self.free + len(self.scores) + len(self.paid)

    def raw(self, features: Float[np.ndarray, "*t b f"]) -> Float[np.ndarray, "*t c"]:
        """The columns of `now` as they are."""
        scores = features[..., self.scores]
        ranked = np.sort(scores, axis=-2)
        parts = np.stack([scores.mean(-2), ranked[..., -1, :], _at(ranked, 0.1), _at(ranked, 0.9)], axis=-1)
        flagged = (scores > self.thresholds).any(axis=-1).mean(axis=-1, keepdims=True)
        mean = np.einsum("...bf->...f", features) / features.shape[-2]
        columns = (parts.reshape(*parts.shape[:-2], -1), mean[..., self.means], flagged, mean[..., self.paid])
        return np.concatenate(columns, axis=-1)

    def whitened(self, raw: Float[np.ndarray, "n c"]) -> Observer:
        """This observer, whose zero and unit are those of the batches `raw`."""
        spread = raw.std(axis=0)
        center, spread = raw.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        return Observer(self.scores, self.means, self.paid, self.thresholds, center, spread)

    def now(self, features: Float[np.ndarray, "*t b f"]) -> Float[np.ndarray, "*t c"]:
        """(raw - center) / spread, within +-8; what is not finite counts as the bound, so that it cannot hide."""
        z = (self.raw(features) - self.center) / self.spread
        return np.clip(np.nan_to_num(z, nan=BOUND, posinf=BOUND, neginf=-BOUND), -BOUND, BOUND)

    def remembered(self, now: Float[np.ndarray, "t c"]) -> Rows:
        """All batches at once: now, its averages at .25 and .05, Page-Hinkley of each score's mean, what was paid for."""
        free = now[:, : self.free]
        averages = [lfilter([rate], [1, rate - 1], free, axis=0) for rate in (FAST, SLOW)]
        mean = free[:, : 4 * len(self.scores) : 4]
        change = mean - np.cumsum(mean, axis=0) / np.arange(1, len(mean) + 1)[:, None] - DELTA
        total = lfilter([1], [1, -FORGET], change, axis=0)
        rise = (total - np.minimum(np.minimum.accumulate(total, axis=0), 0)) / 10
        return np.concatenate([free, *averages, np.clip(rise, 0, BOUND), now[:, self.free :]], axis=1)


def _at(ranked: Float[np.ndarray, "*t b s"], level: float) -> Float[np.ndarray, "*t s"]:
    """The linear quantile of what is sorted: numpy's own is ten times slower on small batches."""
    place = level * (ranked.shape[-2] - 1)
    low = int(place)
    high = min(low + 1, ranked.shape[-2] - 1)
    return ranked[..., low, :] + (place - low) * (ranked[..., high, :] - ranked[..., low, :])


class Memory:
    """`Observer.remembered` a batch at a time: for live traffic, and where what comes depends on what was done."""

    def __init__(self, observer: Observer) -> None:
        self.free, self.width = observer.free, observer.width
        self.averages = np.zeros((2, self.free))
        self.count = 0
        self.changes = [
            (0.0, 0.0, 0.0) for _ in observer.scores
        ]  # sum of the means, leaking sum of changes, its lowest

    def see(self, now: Float[np.ndarray, " c"]) -> Float[np.ndarray, " d"]:
        """The observation after one more batch."""
        count = self.free
        free = now[:count]
        self.averages += RATES * (free - self.averages)
        self.count += 1
        means = free[: 4 * len(self.changes) : 4].tolist()
        self.changes = [self._changed(*old, mean) for old, mean in zip(self.changes, means)]
        row = np.empty(self.width)
        row[:count] = free
        row[count : 3 * count] = self.averages.ravel()
        row[3 * count : 3 * count + len(self.changes)] = [min((t - low) / 10, BOUND) for _, t, low in self.changes]
        row[3 * count + len(self.changes) :] = now[count:]
        return row

    def _changed(self, whole: float, total: float, low: float, mean: float) -> tuple[float, float, float]:
        whole += mean
        total = FORGET * total + mean - whole / self.count - DELTA
        return whole, total, min(low, total)
