"""A few pixels recolored, found by differential evolution."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.black_box.population import PerImage, blocks, query
from immunize.attacks.victim import Best, Rows, Victim, searched
from immunize.batch import Batch, Image
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import normal, uniform
from immunize.threats import Ball

Genes = Float[Tensor, "n m k g"]  # of each pixel its row, its column (as fractions) and its color


@frozen
class OnePixel:
    """child = a + weight * (b - c) of three random members, in place of its parent where it is better.

    arXiv:1710.08864, without crossover. threat: an l_0 ball; `eps` is the number of pixels. queries: an image's
    budget, one a member and generation; the last generation may be smaller, and a fooled image leaves. population: members,
    more than the three that a child is made of. objective: what is better. targeted: towards `Batch.targets`.
    """

    threat: Ball
    queries: Annotated[int, Field(ge=1)] = 1000
    population: Annotated[int, Field(ge=4)] = 50
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    objective: PerImage = "margin"
    targeted: bool = False
    kind: Literal["one_pixel"] = "one_pixel"

    def __post_init__(self) -> None:
        if self.threat.norm != "l0":
            raise ValueError("threat: OnePixel changes few pixels as far as it likes, which is an l_0 ball")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, self.objective, self.targeted)

    def search(self, victim: Victim, seed: int) -> Best:
        """The best member of all generations for each image of `victim`."""
        best = Best(victim.clean)
        for rows in blocks(victim, self.population):
            self._evolve(victim, best, rows, seed)
        return best

    def _evolve(self, victim: Victim, best: Best, rows: Rows, seed: int) -> None:
        clean, keys = victim.clean[rows], victim.keys.to(victim.clean.device)
        spent = min(self.population, self.queries)
        pixels = int(min(self.threat.eps, clean.shape[2:].numel()))
        genes = first(keys[rows], (spent, pixels, 2 + clean.shape[1]), seed)
        fitness = query(victim, best, paint(clean, genes), rows)[0]
        while spent < self.queries:
            left = ~best.success[rows]
            rows, clean, genes, fitness = (part[left] for part in (rows, clean, genes, fitness))
            if not len(rows):
                break
            count = min(self.population, self.queries - spent)
            draws = uniform(seed + spent, keys[rows], 3 * count).view(-1, count, 3)
            children = mix(genes, draws, self.weight)
            values = query(victim, best, paint(clean, children), rows)[0]
            spent += count
            better = values > fitness[:, :count]
            genes[:, :count] = torch.where(better[..., None, None], children, genes[:, :count])
            fitness[:, :count] = torch.where(better, values, fitness[:, :count])


def first(keys: Int[Tensor, " n"], shape: tuple[int, int, int], seed: int) -> Genes:
    """Pixels anywhere, colors normal about the middle with as much spread, so that a third of them is at 0 or 1."""
    count = shape[0] * shape[1] * shape[2]
    place, color = uniform(seed, keys, count), normal(seed + 1, keys, count)
    place, color = (part.view(len(keys), *shape) for part in (place, color))
    return torch.cat([place[..., :2], (0.5 + 0.5 * color[..., 2:]).clamp(0, 1)], dim=3)


def mix(genes: Genes, draws: Float[Tensor, "n j 3"], weight: float) -> Float[Tensor, "n j k g"]:
    """Children of three different members; a place beyond the edge is mirrored at it, a color cut."""
    size = genes.shape[1]
    a = (draws[..., 0] * size).long()
    b = (a + 1 + (draws[..., 1] * (size - 1)).long()) % size
    c = (draws[..., 2] * (size - 2)).long()
    c = c + (c >= torch.minimum(a, b))
    c = c + (c >= torch.maximum(a, b))
    n = torch.arange(len(genes), device=genes.device)[:, None]
    child = genes[n, a] + weight * (genes[n, b] - genes[n, c])
    mirrored = 1 - (1 - child[..., :2].abs()).abs()
    return torch.cat([mirrored, child[..., 2:].clamp(0, 1)], dim=3)


def paint(clean: Image, genes: Genes) -> Float[Tensor, "n m c h w"]:
    """The images that the genes stand for; where two pixels fall together the first one's color counts for both."""
    n, m, k, _ = genes.shape
    height, width = clean.shape[2:]
    x = clean[:, None].expand(n, m, *clean.shape[1:]).flatten(3)
    if k:
        row, column = ((genes[..., j] * size).long().clamp(max=size - 1) for j, size in ((0, height), (1, width)))
        place = row * width + column
        earliest = (place[..., None] == place[..., None, :]).byte().argmax(dim=3)
        color = genes[..., 2:].gather(2, earliest[..., None].expand(-1, -1, -1, clean.shape[1]))
        x = x.scatter(3, place[:, :, None].expand(-1, -1, clean.shape[1], -1), color.transpose(2, 3))
    return x.unflatten(3, (height, width))
