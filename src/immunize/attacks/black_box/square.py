"""Random search with square tiles, one query a step."""

from __future__ import annotations

from math import isinf
from typing import Annotated, Literal

from pydantic import Field
from torch import Generator

from immunize.attacks.black_box.population import PerImage
from immunize.attacks.black_box.tiles import grid, move, recolor, stripes
from immunize.attacks.victim import Best, Victim, searched
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import uniform
from immunize.threats import Ball

HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries


@frozen
class Square:
    """x <- x with one tile recolored, kept if the value rises; each image has its own tiles (arXiv:1912.00049 alg. 1-3).

    queries: forward passes an image, the first of them the stripes (l_2: the 5 x 5 grid) that the search starts from; a
    fooled image leaves. p: the share of the image that a tile covers at first, halved nine times; the paper's times are of
    10,000 queries, and `rescaled` makes them fractions of `queries`. objective: what a query answers. targeted: towards
    `Batch.targets`. The threat is a finite l_inf or l_2 ball.
    """

    threat: Ball
    queries: Annotated[int, Field(ge=1)] = 1000
    p: Annotated[float, Field(gt=0, le=1)] = 0.8
    rescaled: bool = True
    objective: PerImage = "margin"
    targeted: bool = False
    kind: Literal["square"] = "square"

    def __post_init__(self) -> None:
        if self.threat.norm == "l0" or isinf(self.threat.eps):
            raise ValueError("threat: Square moves in a finite l_inf or l_2 ball")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, self.objective, self.targeted)

    def search(self, victim: Victim, seed: int) -> Best:
        """The best of all queries for each image of `victim`."""
        best, rows, clean = Best(victim.clean), victim.all, victim.clean
        keys, linf = victim.keys.to(clean.device), self.threat.norm == "linf"
        channels, height, width = clean.shape[1:]
        for k in range(self.queries):
            if k == 0:
                x = (stripes if linf else grid)(clean, self.threat.eps, keys, seed)
            else:
                draws = uniform(seed + k, keys[rows], 5 + channels)
                propose = recolor if linf else move
                x = propose(best.x, clean, rows, draws, self.side(k, height, width), self.threat.eps)
            best.update(x, victim.query(x, rows), rows)
            rows = rows[~best.success[rows]]
            if not len(rows):
                break
        return best

    def side(self, k: int, height: int, width: int) -> int:
        """The side of the tile of query k: its area is p, halved so far, of the image; odd and at least 3 for l_2."""
        step = (k - 1) * 10_000 // self.queries if self.rescaled else k - 1
        area = self.p * 0.5 ** sum(step > limit for limit in HALVED) * height * width
        least = 1 if self.threat.norm == "linf" else 3
        side = max(round(area**0.5), least)
        return min(side if least == 1 else side | 1, height, width)
