"""Projected ascent on a gradient that queries estimate."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.black_box.population import PerImage, blocks, query
from immunize.attacks.victim import Best, Rows, Victim, searched
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import normal, uniform
from immunize.threats import Ball, Waveform

Directions = Float[Tensor, "n m *shape"]


@frozen
class EstimatedGradient:
    """g = mean over random u of u * (value(x + sigma u) - value(x - sigma u)) / (2 sigma), then PGD's step along it.

    estimator: u is normal ("nes", arXiv:1804.08598) or a random sign at each pixel ("spsa", arXiv:1802.05666). directions:
    of one estimate, two queries each; a query lies inside the threat, and x is queried after each step. queries: an
    image's budget; the last estimate takes fewer directions. A fooled image leaves. sigma: in pixels. step: fraction of
    the threat's reach. momentum: g <- momentum * g of the step before + (1 - momentum) * g. objective: what a query
    answers. targeted: towards `Batch.targets`.
    """

    threat: Ball | Waveform
    queries: Annotated[int, Field(ge=1)] = 1000
    estimator: Literal["nes", "spsa"] = "nes"
    directions: Annotated[int, Field(ge=1)] = 25
    sigma: Annotated[float, Field(gt=0)] = 0.01
    step: float = 0.25
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    objective: PerImage = "margin"
    targeted: bool = False
    kind: Literal["estimated_gradient"] = "estimated_gradient"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, self.objective, self.targeted)

    def search(self, victim: Victim, seed: int) -> Best:
        """The best of all queries for each example of `victim`, whatever its signals are."""
        best = Best(victim.clean)
        for rows in blocks(victim, 2 * self.directions):
            self._ascend(victim, best, rows, seed)
        return best

    def _ascend(self, victim: Victim, best: Best, rows: Rows, seed: int) -> None:
        x = clean = victim.clean[rows]
        gradient, keys, spent = torch.zeros_like(clean), victim.keys.to(clean.device), 0
        while len(rows):
            best.update(x, victim.query(x, rows), rows)
            spent += 1
            directions = min(self.directions, (self.queries - spent - 1) // 2)
            left = ~best.success[rows]
            rows, x, clean, gradient = rows[left], x[left], clean[left], gradient[left]
            if directions < 1 or not len(rows):
                break
            u = self._draw(seed + spent, keys[rows], directions, clean)
            gradient = self.momentum * gradient + (1 - self.momentum) * self._estimate(victim, best, x, u, rows)
            spent += 2 * directions
            x = self.threat.project(x + self.step * self.threat.reach(clean) * self.threat.steepest(gradient), clean)
            left = ~best.success[rows]  # a query of the estimate fooled
            rows, x, clean, gradient = rows[left], x[left], clean[left], gradient[left]

    def _draw(self, seed: int, keys: Int[Tensor, " n"], directions: int, clean: Tensor) -> Directions:
        count, shape = directions * clean.shape[1:].numel(), (len(keys), directions, *clean.shape[1:])
        if self.estimator == "nes":
            return normal(seed, keys, count).view(shape)
        return ((uniform(seed, keys, count) < 0.5) * 2.0 - 1).view(shape)

    def _estimate(self, victim: Victim, best: Best, x: Tensor, u: Directions, rows: Rows) -> Tensor:
        """The gradient at x, each pair of queries weighing its direction."""
        clean = victim.clean[rows].repeat_interleave(2 * u.shape[1], dim=0)
        probes = torch.cat([x[:, None] + self.sigma * u, x[:, None] - self.sigma * u], dim=1)
        probes = self.threat.project(probes.flatten(0, 1), clean).view_as(probes)
        up, down = query(victim, best, probes, rows)[0].chunk(2, dim=1)
        weights = (up - down) / (2 * self.sigma * u.shape[1])
        return torch.einsum("nm,nm...->n...", weights, u)
