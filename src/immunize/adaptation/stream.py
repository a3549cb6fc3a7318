"""Traffic: batches of items under a regime that switches by itself, a whole episode drawn at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from immunize.adaptation.payoffs import Payoffs, Table
from immunize.config import frozen

Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, slots=True)
class Episode:
    """`regime[t]` reigns at batch t; of its `items[t, b]` those with `draw` < `share` are under it, the others clean.

    share: the contamination that was aimed at.
    """

    regime: Int[np.ndarray, " t"]
    share: Float[np.ndarray, " t"]
    items: Int[np.ndarray, "t b"]
    draw: Float[np.ndarray, "t b"]

    def __len__(self) -> int:
        return len(self.regime)

    def under(self, regime: Int[np.ndarray, " t"], clean: int) -> Int[np.ndarray, "t b"]:
        """The regime of each item, if `regime` reigns: its contamination of the batch, `clean` the rest."""
        return np.where(self.draw < self.share[:, None], regime[:, None], clean)

    def mixed(self, table: Table, regime: Int[np.ndarray, " t"], clean: int) -> Float[np.ndarray, "t a"]:
        """Payoffs without noise of each batch: share * table[regime] + (1 - share) * table[clean]."""
        share = self.share[:, None]
        return share * table[regime] + (1 - share) * table[clean]


@frozen
class Stream:
    """A regime lasts a geometric time with mean `dwell` batches and is followed by another one, drawn evenly.

    batch: pairs in a batch. length: batches. contamination: shares of attacked pairs, one drawn for each stay. clean: the
    regime that the other pairs are in. only: the regimes that come up, all where none is named; a single one reigns always.
    """

    dwell: Annotated[float, Field(ge=1)] = 100.0
    contamination: tuple[Share, ...] = (1.0,)
    batch: Annotated[int, Field(ge=1)] = 32
    length: Annotated[int, Field(ge=1)] = 1500
    clean: str = "clean"
    only: tuple[str, ...] = ()

    def draw(self, payoffs: Payoffs, rng: np.random.Generator) -> Episode:
        """Raises ValueError where the payoffs know no regime of the name `clean`, or not one of `only`."""
        self.background(payoffs)
        reigning = self.reigning(payoffs)
        count = len(reigning)
        switch = rng.random(self.length) < 1 / self.dwell
        switch[0] = True
        stay = np.cumsum(switch) - 1
        hops = rng.integers(1, max(count, 2), size=self.length)  # never 0: a switch changes the regime
        hops[0] = rng.integers(count)
        share = rng.choice(np.array(self.contamination, dtype=float), size=self.length)
        return Episode(
            regime=reigning[np.cumsum(hops) % count][stay],
            share=share[stay],
            items=rng.integers(len(payoffs), size=(self.length, self.batch)),
            draw=rng.random((self.length, self.batch)),
        )

    def reigning(self, payoffs: Payoffs) -> Int[np.ndarray, " k"]:
        """The places of the regimes that come up. Raises ValueError for a name that is none."""
        if unknown := [name for name in self.only if name not in payoffs.regimes]:
            raise ValueError(f"stream: no regime {unknown} in the payoffs; here are {list(payoffs.regimes)}")
        names = self.only or payoffs.regimes
        return np.array([payoffs.regimes.index(name) for name in names], dtype=int)

    def background(self, payoffs: Payoffs) -> int:
        """The place of the clean regime. Raises ValueError where there is none."""
        if self.clean not in payoffs.regimes:
            raise ValueError(f"stream: no regime {self.clean!r} in the payoffs; here are {list(payoffs.regimes)}")
        return payoffs.regimes.index(self.clean)
