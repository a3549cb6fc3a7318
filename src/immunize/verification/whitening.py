"""Mahalanobis distances with shrinkage, as lengths in coordinates where clean data has unit covariance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Whitening:
    """z = ((x - center) / scale) rotation; ||z||^2 is the squared Mahalanobis distance from the clean mean."""

    center: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    rotation: Float[Tensor, "d d"]

    @classmethod
    def of(cls, clean: Float[Tensor, "n d"], shrinkage: float) -> Whitening:
        """S^(-1/2) of S = (1 - shrinkage) * correlation + shrinkage * identity (Ledoit and Wolf 2004, by hand).

        Coordinates are scaled to unit deviation first, so that the identity is a fair target; a constant one stays at 0.
        """
        x = clean.double()
        center, scale = x.mean(dim=0), x.std(dim=0)
        still = scale < 1e-6 * (1 + center.abs())
        unit = ((x - center) / torch.where(still, 1.0, scale)).masked_fill(still, 0.0)
        correlation = unit.T @ unit / max(len(x) - 1, 1)
        shrunk = (1 - shrinkage) * correlation + shrinkage * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        values, vectors = torch.linalg.eigh(shrunk)
        rotation = vectors * values.clamp(min=1e-8).rsqrt() @ vectors.T
        return cls(center.float(), torch.where(still, 1e3, scale).float(), rotation.float())

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (x - self.center) / self.scale @ self.rotation

    def distance(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The squared Mahalanobis distance over d, 1 on average for clean data without shrinkage."""
        return self(x).square().mean(dim=1)
