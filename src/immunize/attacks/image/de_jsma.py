"""Fewer pixels still: sets of salient pixels, evolved."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.image.jsma import JSMA, score
from immunize.attacks.image.nearest import Nearest
from immunize.attacks.victim import Best, Judged, Rows, Victim, searched
from immunize.batch import Batch, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import uniform
from immunize.threats import Ball

BLOCK = 512  # images in one forward pass
FOOLS = 1e6  # fitness, above every margin, of a set that fools with no pixel at all
Genes = Float[Tensor, "n m k"]  # of each candidate pixel; above a half it is in the set


@frozen
class DEJSMA:
    """JSMA, then differential evolution over its pixels and the most salient others: first to fool, then with fewer.

    child = a + weight (b - c) of three random members, gene by gene with probability `crossover` and else its parent's; it
    takes its parent's place where it fools with fewer pixels or, where neither fools, has the higher margin (DE/rand/1/bin).
    threat: an l_0 ball, in pixels. queries: an image's forward passes after JSMA's, in whole generations of one a member.
    population: members. candidates: pixels that a set is drawn from, each of the color that JSMA gives it. targeted:
    towards `Batch.targets`.
    """

    threat: Ball
    queries: Annotated[int, Field(ge=0)] = 640
    population: Annotated[int, Field(ge=4)] = 32
    weight: Annotated[float, Field(gt=0, le=2)] = 0.5
    crossover: Annotated[float, Field(ge=0, le=1)] = 0.2
    candidates: Annotated[int, Field(ge=1)] = 64
    targeted: bool = False
    kind: Literal["de_jsma"] = "de_jsma"

    def __post_init__(self) -> None:
        if self.threat.norm != "l0":
            raise ValueError(f"threat: DEJSMA counts pixels, so the norm is l0, not {self.threat.norm}")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, targeted=self.targeted)

    def search(self, victim: Victim, seed: int) -> Best:
        """The set of fewest pixels found to fool each example of `victim`, or the one of highest margin."""
        greedy = JSMA(self.threat, targeted=self.targeted)
        first, near = greedy.search(victim), Nearest(self.threat, victim.clean)
        near.update(first.x, Judged(first.value, first.success), victim.all)
        for rows in victim.all.split(max(1, BLOCK // self.population)):
            rows = rows[near.distance(rows) > 1]  # one pixel, or none, cannot be bettered
            if len(rows) and self.threat.eps >= 1 and self.queries >= self.population:
                self._evolve(victim, near, rows, self._palette(victim, greedy, first.x[rows], rows), seed)
        return near.inside(victim)

    def _palette(self, victim: Victim, greedy: JSMA, found: Signal, rows: Rows) -> Palette:
        """What JSMA moved, then the most salient pixels of the clean image."""
        x = victim.clean[rows].requires_grad_()
        moved, a, b = greedy.effects(victim, x, victim.embed(x, rows), rows)
        touched = (found != x).flatten(2).any(dim=1)
        salient = score(a, b).masked_fill(touched, torch.inf)
        place = salient.topk(min(self.candidates, a.shape[1]), dim=1).indices
        color = torch.where(touched.view(len(x), 1, *x.shape[2:]), found, moved).flatten(2)
        return Palette(place, color.gather(2, place[:, None].expand(-1, x.shape[1], -1)), touched.gather(1, place))

    def _evolve(self, victim: Victim, near: Nearest, rows: Rows, palette: Palette, seed: int) -> None:
        keys, count, size = victim.keys.to(rows.device)[rows], self.population, palette.place.shape[1]
        draws = uniform(seed, keys, count * size).view(-1, count, size)
        genes = _first(draws, palette.touched)
        fitness = self._ask(victim, near, rows, palette, genes)
        for generation in range(1, self.queries // count):
            draws = uniform(seed + generation, keys, count * (4 + size)).view(-1, count, 4 + size)
            children = self._children(genes, draws)
            values = self._ask(victim, near, rows, palette, children)
            better = values > fitness
            genes, fitness = torch.where(better[..., None], children, genes), torch.maximum(values, fitness)

    def _children(self, genes: Genes, draws: Float[Tensor, "n m u"]) -> Genes:
        """Of each member, three others being mixed; a gene beyond [0, 1] is mirrored at the edge."""
        count, n = genes.shape[1], torch.arange(len(genes), device=genes.device)[:, None]
        offsets = _three(draws[..., :3], count - 1) + 1  # from the member itself
        a, b, c = ((torch.arange(count, device=genes.device) + offsets[..., j]) % count for j in range(3))
        mutant = genes[n, a] + self.weight * (genes[n, b] - genes[n, c])
        mutant = 1 - (1 - mutant.abs()).abs()
        forced = (draws[..., 3:4] * genes.shape[2]).long()
        crossed = (draws[..., 4:] < self.crossover).scatter(2, forced, True)
        return torch.where(crossed, mutant.clamp(0, 1), genes)

    def _ask(self, victim: Victim, near: Nearest, rows: Rows, palette: Palette, genes: Genes) -> Float[Tensor, "n m"]:
        """Fitness: the margin or, of a set that fools, above all margins and more so with fewer pixels."""
        on = (genes > 0.5) & (genes.argsort(dim=2, descending=True).argsort(dim=2) < self.threat.eps)
        clean, count = victim.clean[rows], genes.shape[1]
        flat = clean.flatten(2)[:, None].expand(-1, count, -1, -1)
        place = palette.place[:, None, None].expand(-1, count, clean.shape[1], -1)
        color = torch.where(on[:, :, None], palette.color[:, None], flat.gather(3, place))
        x = flat.scatter(3, place, color).view(-1, *clean.shape[1:])
        judged = victim.query(x, rows.repeat_interleave(count))
        value, success = judged.value.view(-1, count), judged.success.view(-1, count)
        fitness = torch.where(success, FOOLS - on.sum(dim=2), value)
        n, top = torch.arange(len(rows), device=rows.device), fitness.argmax(dim=1)
        near.update(x.view(-1, count, *clean.shape[1:])[n, top], Judged(value[n, top], success[n, top]), rows)
        return fitness


class Palette(NamedTuple):
    """place: the candidate pixels, as positions. color: what each becomes. touched: whether JSMA moved it."""

    place: Int[Tensor, "n k"]
    color: Float[Tensor, "n c k"]
    touched: Bool[Tensor, "n k"]


def _first(draws: Genes, touched: Bool[Tensor, "n k"]) -> Genes:
    """JSMA's set first; the further down, the more of it is left out (to a half) and the more else is in it (a tenth)."""
    change = torch.linspace(0, 1, draws.shape[1], device=draws.device)[:, None]
    chance = torch.where(touched[:, None], 1 - 0.5 * change, 0.1 * change)
    return torch.where(draws < chance, 1 - 0.5 * draws, 0.5 * draws)


def _three(draws: Float[Tensor, "n m 3"], count: int) -> Int[Tensor, "n m 3"]:
    """Three different numbers below `count`."""
    a, b, c = ((draws[..., j] * (count - j)).long() for j in range(3))
    b = b + (b >= a)
    c = c + (c >= torch.minimum(a, b))
    return torch.stack([a, b, c + (c >= torch.maximum(a, b))], dim=2)
