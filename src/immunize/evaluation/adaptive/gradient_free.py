"""A5: what an attacker does who has no gradient, on the system as it is served."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator

from immunize.attacks.black_box import EstimatedGradient, Square
from immunize.attacks.victim import Judged, Rows, Victim
from immunize.batch import Batch, Embedding, Image, Signal
from immunize.config import frozen
from immunize.evaluation.adaptive.system import System
from immunize.evaluation.adaptive.target import Target
from immunize.rng import draw_seed

Search = Annotated[Square | EstimatedGradient, Field(discriminator="kind")]


@frozen
class GradientFree:
    """The search on what the system answers, hard transforms, choice and random draws included; no slope is used.

    The value of a query is the margin of the answer; that of a flagged one is below all that are not, so that the search
    leaves it where it can. The search stops at its first success, which a random defense may have granted by luck:
    `evaluate` asks again.
    """

    attack: Search
    kind: Literal["gradient_free"] = "gradient_free"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        seed = draw_seed(rng)
        with Target.of(system, batch) as target:
            victim = Served(target)
            return {self.attack.kind: victim.finish(batch, self.attack.search(victim, seed))}


class Served(Victim):
    """A system behind its door: margin and verdict of each query, nothing else."""

    def __init__(self, target: Target) -> None:
        self.target = target
        first = target.bank(target.system.actions[0])
        Victim.__init__(self, _behind_the_door, target.batch.images, first, target.keys)

    def judge(self, x: Signal, rows: Rows) -> Judged:
        if not len(rows):
            return Judged(x.flatten(1).sum(dim=1), torch.zeros(0, dtype=torch.bool, device=x.device))
        self.forwards.index_add_(0, rows, torch.ones_like(rows))
        answer = self.target.serve(x, rows)
        below = 4 * self.bank.scale.float()  # margins lie between -2 and 2 scales
        return Judged(answer.margin - below * answer.flagged, answer.success)


def _behind_the_door(images: Image) -> Embedding:
    raise RuntimeError("a system as served gives no embedding without its caption; ask `judge`")
