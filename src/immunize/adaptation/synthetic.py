"""An invented tensor: it shows what metrics and contenders do, and says nothing about any model."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from immunize.adaptation.observation import Look
from immunize.adaptation.payoffs import Payoffs
from immunize.config import frozen

REGIMES = ("clean", "image_2", "image_4", "targeted", "characters", "words", "joint", "shift")
ACTIONS = ("none", "purify", "denoise", "both", "interpolated", "robust", "robust_denoise")
BEST = np.array([0, 1, 5, 5, 2, 2, 6, 4])  # the action that suits each regime


@frozen
class Synthetic:
    """Each regime has one action that suits it; features lie `separability` apart, in deviations of a batch's mean.

    items: how many. noise: of an item's reward, in units of the headroom. batch: the size that `separability` is about.
    """

    items: Annotated[int, Field(ge=2)] = 8000
    separability: Annotated[float, Field(ge=0)] = 0.4
    features: Annotated[int, Field(ge=3)] = 8
    noise: Annotated[float, Field(ge=0)] = 0.3
    batch: Annotated[int, Field(ge=1)] = 32
    seed: int = 0

    def make(self) -> Payoffs:
        """The same seed gives the same tensor."""
        rng = np.random.default_rng(self.seed)
        n, z, a = self.items, len(REGIMES), len(ACTIONS)
        table = -1.6 - 0.25 * rng.random((z, a))
        table[np.arange(z), BEST] += 0.4
        loss = table - 0.4 * self.noise * rng.standard_normal((n, z, a))
        where = self.separability * rng.standard_normal((z, self.features))
        where -= where[0]
        seen = where + self.batch**0.5 * rng.standard_normal((n, z, self.features))
        nothing = np.zeros((n, z, a))
        return Payoffs(
            consistency=-loss,
            received=-loss,
            adversarial=nothing,
            correct=(loss > np.median(loss)).astype(float),
            mismatched=np.zeros((z, a)),
            latency=np.array([1.0, 8.0, 1.5, 8.5, 1.0, 1.0, 1.5]),
            features=seen,
            regimes=REGIMES,
            actions=ACTIONS,
            names=("misaligned", "manipulated", *(f"evidence_{i}" for i in range(self.features - 2))),
            alpha=1.0,
        )

    @property
    def look(self) -> Look:
        """The first two features are scores, the last one has a price where looking has one."""
        return Look(scores=("misaligned", "manipulated"), paid=(f"evidence_{self.features - 3}",))
