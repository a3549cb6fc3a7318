"""Along the decision boundary towards the clean image, by verdicts alone."""

from __future__ import annotations

from math import ceil, isfinite, log2
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from immunize.attacks.black_box.population import blocks
from immunize.attacks.victim import Best, Rows, Victim, searched
from immunize.batch import Batch, Image
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import normal, uniform
from immunize.threats import Ball

HALVINGS = 25  # of a step, before it is given up


@frozen
class HopSkipJump:
    """Binary search to the boundary, its normal from verdicts about it, a step along the normal, and again.

    arXiv:1904.02144 alg. 2; of a query only the verdict is used. threat: l_2 or l_inf; an image that is fooled inside the
    ball is done, one that is not is projected onto it; with an infinite radius the nearest fooling image is looked for.
    queries: an image's budget, the last of them for the verdict on what is returned. directions: of the first estimate,
    sqrt(t) times as many in the t-th. tries: random images, from one color to white noise, that may serve as the start.
    """

    threat: Ball
    queries: Annotated[int, Field(ge=1)] = 1000
    directions: Annotated[int, Field(ge=2)] = 50
    tries: Annotated[int, Field(ge=1)] = 25
    kind: Literal["hop_skip_jump"] = "hop_skip_jump"

    def __post_init__(self) -> None:
        if self.threat.norm == "l0":
            raise ValueError("threat: HopSkipJump walks in an l_inf or l_2 ball")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng)

    def search(self, victim: Victim, seed: int) -> Best:
        """For each image of `victim` the nearest fooling point found, projected onto the threat."""
        best = Best(victim.clean)
        for rows in blocks(victim, self.directions):
            x = _Walk(self.threat, victim, rows, self.queries - 1, seed).run(self.tries, self.directions)
            best.update(x, victim.query(x, rows), rows)
        return best


class _Walk:
    """The walk of images `rows`, in step; `going` are those that are not done and have queries left."""

    def __init__(self, threat: Ball, victim: Victim, rows: Rows, queries: int, seed: int) -> None:
        self.threat, self.victim, self.rows, self.seed = threat, victim, rows, seed
        self.clean, self.keys = victim.clean[rows], victim.keys.to(rows.device)[rows]
        self.limit = victim.forwards[rows] + queries
        self.going = torch.ones_like(rows, dtype=torch.bool)
        self.dimensions = self.clean.shape[1:].numel()

    def run(self, tries: int, directions: int) -> Image:
        x = self.boundary(self.start(tries), self.going)
        t = 0
        while self.going.any():
            t += 1
            direction = self.threat.steepest(self.normal(x, t, int(directions * t**0.5)))
            further, jumped = self.jump(x, direction, t)
            nearer = self.boundary(further, jumped)
            closer = self.threat.distance(nearer, self.clean) < self.threat.distance(x, self.clean)
            x = torch.where(_column(closer), nearer, x)
        return self.threat.project(x, self.clean)

    def ask(self, x: Float[Tensor, "n m *shape"], among: Bool[Tensor, " n"]) -> tuple[Tensor, Tensor]:
        """Which of m points of each image fool, False where none was asked; and which were, budgets being what they are."""
        order = torch.arange(x.shape[1], device=x.device)
        left = self.limit - self.victim.forwards[self.rows]
        asked = (among & self.going)[:, None] & (order < left[:, None])
        fools, rows = torch.zeros_like(asked), self.rows[:, None].expand_as(asked)
        if asked.any():
            fools[asked] = self.victim.query(x[asked], rows[asked]).success
        self.going = self.going & (self.victim.forwards[self.rows] < self.limit)
        return fools, asked

    def ask_one(self, x: Image, among: Bool[Tensor, " n"]) -> Bool[Tensor, " n"]:
        return self.ask(x[:, None], among)[0][:, 0]

    def start(self, tries: int) -> Image:
        """The first random image that fools; an image that is fooled as it is stays so and is done."""
        done = self.ask_one(self.clean, self.going)
        self.going, x, found = self.going & ~done, self.clean, done
        sides = [2**k for k in range(int(log2(min(x.shape[2:]))) + 1)]
        for j in range(tries):
            side = sides[j % len(sides)]
            noise = uniform(self.seed + j, self.keys, x.shape[1] * side * side).view(len(x), -1, side, side)
            trial = interpolate(noise, x.shape[2:], mode="nearest")
            x = torch.where(_column(found), x, trial)
            found = found | self.ask_one(trial, ~found)
        self.going = self.going & found
        return x

    def boundary(self, x: Image, among: Bool[Tensor, " n"]) -> Image:
        """On the way from the clean image the first fooling point; done, if it is where the way leaves the ball."""
        inside = self.threat.project(x, self.clean)
        done = self.ask_one(inside, among & isfinite(self.threat.eps))
        self.going = self.going & ~done
        low, high = torch.zeros_like(self.clean[:, 0, 0, 0]), torch.ones_like(self.clean[:, 0, 0, 0])
        for _ in range(ceil(1.5 * log2(self.dimensions))):  # to d^(-3/2) of the way
            middle = (low + high) / 2
            fools = self.ask_one(self.between(x, middle), among)
            low, high = torch.where(fools, low, middle), torch.where(fools, middle, high)
        return torch.where(_column(done), inside, self.between(x, high))

    def between(self, x: Image, share: Float[Tensor, " n"]) -> Image:
        """That share of the way to x: along the line for l_2, for l_inf x cut to a smaller ball."""
        if self.threat.norm == "l2":
            return torch.lerp(self.clean, x, _column(share))
        radius = _column(share * self.threat.distance(x, self.clean))
        return self.clean + (x - self.clean).clamp(-radius, radius)

    def normal(self, x: Image, t: int, count: int) -> Image:
        """The boundary's normal at x: directions weighed by their verdicts less the mean verdict."""
        u = normal(self.seed - t, self.keys, count * self.dimensions).view(len(x), count, *x.shape[1:])
        u = u / u.flatten(2).norm(dim=2)[..., None, None, None]
        radius = _column((x - self.clean).flatten(1).norm(dim=1) / self.dimensions)
        probes = (x[:, None] + radius[:, None] * u).clamp(0, 1)
        fools, asked = self.ask(probes, self.going)
        verdict = (2.0 * fools - 1) * asked
        mean = verdict.sum(dim=1, keepdim=True) / asked.sum(dim=1, keepdim=True).clamp(min=1)
        weight = torch.where(mean.abs() < 1, verdict - mean, verdict) * asked
        return torch.einsum("nm,nmchw->nchw", weight, probes - x[:, None])

    def jump(self, x: Image, direction: Image, t: int) -> tuple[Image, Bool[Tensor, " n"]]:
        """A step of 1 / sqrt(t) of the distance, halved until it fools; and where it did."""
        length, further = self.threat.distance(x, self.clean) / t**0.5, x
        jumped = torch.zeros_like(self.going)
        for _ in range(HALVINGS):
            trial = (x + _column(length) * direction).clamp(0, 1)
            fools = self.ask_one(trial, ~jumped)
            further, jumped = torch.where(_column(fools), trial, further), jumped | fools
            length = length / 2
        return further, jumped


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]
