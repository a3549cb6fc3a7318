"""Cheap features decide what they can; the costly ones are computed for the ambiguous band alone, and reorder it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Band:
    """The first scores in [low, high] are ambiguous: below, a pair passes; above, it is caught without a second look."""

    low: float
    high: float

    @classmethod
    def of(cls, clean: Float[Tensor, " n"], share: float, sure: float) -> Band:
        """From the first scores of clean pairs: the share that is looked at twice, and the share beyond all doubt."""
        low, high = clean.double().quantile(torch.tensor([1 - share, 1 - sure], dtype=torch.float64)).tolist()
        return cls(low, high)

    def holds(self, first: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which pairs are ambiguous."""
        return (first >= self.low) & (first <= self.high)

    def within(self, second: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """low + (high - low) (1 + z / (1 + |z|)) / 2: the second scores z in their order, inside the band, never flat."""
        return self.low + (self.high - self.low) * (1 + second / (1 + second.abs())) / 2

    def merged(self, first: Float[Tensor, " n"], second: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The second score where the first is ambiguous, else the first."""
        return torch.where(self.holds(first), self.within(second), first)
