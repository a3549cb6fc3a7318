"""A genetic algorithm over perturbations."""

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
from immunize.rng import uniform
from immunize.threats import Ball, Waveform

Population = Float[Tensor, "n m *shape"]
Values = Float[Tensor, "n m"]


@frozen
class Genetic:
    """The fittest is kept, the others are children: a gene of either parent, the fitter the likelier, and then mutation.

    GenAttack (arXiv:1805.11090 alg. 1). queries: an image's budget, all members of a generation being asked; the last
    generation may be smaller, and a fooled image leaves. population: members. rate: the share of pixels that mutate, by
    at most `mutation` of the reach. After `patience` generations without a better member both shrink by a tenth, down to
    a tenth of themselves. temperature: parents are drawn by softmax(standardized fitness / temperature). objective: the
    fitness. targeted: towards `Batch.targets`. The threat is a ball that bounds each number alone: l_inf, or a waveform.
    """

    threat: Ball | Waveform
    queries: Annotated[int, Field(ge=1)] = 1000
    population: Annotated[int, Field(ge=2)] = 6
    rate: Annotated[float, Field(ge=0, le=1)] = 0.05
    mutation: Annotated[float, Field(ge=0)] = 1.0
    patience: Annotated[int, Field(ge=1)] = 100
    temperature: Annotated[float, Field(gt=0)] = 0.1
    objective: PerImage = "margin"
    targeted: bool = False
    kind: Literal["genetic"] = "genetic"

    def __post_init__(self) -> None:
        if isinstance(self.threat, Ball) and self.threat.norm != "linf":
            raise ValueError("threat: Genetic crosses pixels, which only an l_inf ball leaves inside it")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, self.objective, self.targeted)

    def search(self, victim: Victim, seed: int) -> Best:
        """The best member of all generations for each example of `victim`."""
        best = Best(victim.clean)
        for rows in blocks(victim, self.population):
            self._evolve(victim, best, rows, seed)
        return best

    def _evolve(self, victim: Victim, best: Best, rows: Rows, seed: int) -> None:
        clean, keys = victim.clean[rows], victim.keys.to(victim.clean.device)
        spent = min(self.population, self.queries)
        members = self._first(clean, keys[rows], spent, seed)
        fitness = query(victim, best, members, rows)[0]
        quiet = torch.zeros_like(rows)  # generations since the best member got better
        while spent < self.queries:
            left = ~best.success[rows]
            rows, clean, members, fitness, quiet = (part[left] for part in (rows, clean, members, fitness, quiet))
            if not len(rows):
                break
            count = min(self.population - 1, self.queries - spent)
            draws = uniform(seed + spent, keys[rows], 2 * count * (1 + clean.shape[1:].numel()))
            shrink = (0.9 ** (quiet // self.patience)).clamp(min=0.1)
            children = self._breed(members, fitness, clean, draws, shrink)
            values = query(victim, best, children, rows)[0]
            spent += count
            top, n = fitness.argmax(dim=1), torch.arange(len(rows), device=rows.device)
            elite, known = members[n, top][:, None], fitness[n, top][:, None]
            quiet = torch.where((values > known).any(dim=1), 0, quiet + 1)
            members, fitness = torch.cat([elite, children], dim=1), torch.cat([known, values], dim=1)

    def _first(self, clean: Tensor, keys: Int[Tensor, " n"], count: int, seed: int) -> Population:
        """Random points of the threat."""
        noise = 2 * uniform(seed, keys, count * clean.shape[1:].numel()).view(-1, *clean.shape[1:]) - 1
        center = clean.repeat_interleave(count, dim=0)
        return self.threat.project(center + self.threat.reach(center) * noise, center).unflatten(0, (-1, count))

    def _breed(self, members: Population, fitness: Values, clean: Tensor, draws: Tensor, shrink: Tensor) -> Tensor:
        """Children: 2 draws each choose the parents, one a pixel the parent it follows, and one whether it mutates."""
        count = draws.shape[1] // (2 * (1 + clean.shape[1:].numel()))
        spread = (fitness - fitness.mean(dim=1, keepdim=True)) / fitness.std(dim=1, keepdim=True).clamp(min=1e-12)
        chance = (spread / self.temperature).softmax(dim=1)
        drawn = torch.searchsorted(chance.cumsum(dim=1), draws[:, : 2 * count].contiguous())
        parents = drawn.clamp(max=fitness.shape[1] - 1)
        weight = chance.gather(1, parents).view(-1, count, 2)
        first = weight[..., 0] / weight.sum(dim=2)
        n = torch.arange(len(members), device=members.device)[:, None]
        one, other = (members[n, parents[:, j::2]] for j in (0, 1))
        cross, change = draws[:, 2 * count :].view(len(members), 2, *one.shape[1:]).unbind(dim=1)
        children = torch.where(cross < _column(first, cross), one, other)
        rate = _column((self.rate * shrink)[:, None], change)
        amount = torch.where(change < rate, 2 * change / rate - 1, 0) * _column(
            (self.mutation * shrink)[:, None], change
        )
        center = clean.repeat_interleave(count, dim=0)
        moved = children.flatten(0, 1) + self.threat.reach(center) * amount.flatten(0, 1)
        return self.threat.project(moved, center).view_as(children)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.view(*values.shape, *[1] * (like.dim() - 2))
