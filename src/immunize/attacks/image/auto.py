"""The ensemble that robustness is reported under: different losses, a minimal norm, and one that sees no gradient."""

from __future__ import annotations

from math import isinf
from typing import Annotated, Literal

from pydantic import Field
from torch import Generator

from immunize.attacks.black_box.square import Square
from immunize.attacks.image.apgd import APGD
from immunize.attacks.image.fab import FAB
from immunize.attacks.victim import Best, Rows, Victim, searched
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.threats import Ball


@frozen
class AutoAttack:
    """APGD on cross-entropy, then targeted APGD, targeted FAB and Square, each on what those before it did not fool.

    steps: of each run of APGD and FAB. restarts: of these. targets: likeliest wrong texts aimed at, by the DLR or, with
    fewer than four texts, by the margin. queries: of Square. An image that nothing fools is the one of the largest margin
    that any member found; value: that margin. Croce and Hein, arXiv:2003.01690 sec. 6, with no parameter to be tuned.
    """

    threat: Ball
    steps: Annotated[int, Field(ge=1)] = 100
    restarts: Annotated[int, Field(ge=1)] = 1
    targets: Annotated[int, Field(ge=1)] = 9
    queries: Annotated[int, Field(ge=1)] = 5000
    kind: Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.threat.norm == "l0" or isinf(self.threat.eps):
            raise ValueError("threat: auto is made of attacks in a finite l_inf or l_2 ball")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng)

    def members(self, texts: int) -> tuple[APGD | FAB | Square, ...]:
        """What is run in turn where there are so many texts to rank."""
        t, n, r = self.threat, self.steps, self.restarts
        return (
            APGD(t, steps=n, restarts=r, objective="cross_entropy", early_stop=True),
            APGD(t, n, r, objective="dlr" if texts >= 4 else "margin", targets=self.targets, early_stop=True),
            FAB(t, n, r, self.targets, early_stop=True),
            Square(t, queries=self.queries, rescaled=False),
        )

    def search(self, victim: Victim, seed: int) -> Best:
        """The union of what the members fool, costs added."""
        best = Best(victim.clean)
        best.update(victim.clean, victim.query(victim.clean, victim.all), victim.all)
        rows = victim.all[~best.success]
        texts = 1 + int((~victim.bank.own).sum(dim=1).min())  # an image's own count as one
        for number, member in enumerate(self.members(texts)):
            if not len(rows):
                break
            part = _part(victim, rows, member)
            found = member.search(part, seed + number)
            victim.forwards.index_add_(0, rows, part.forwards)
            victim.backwards.index_add_(0, rows, part.backwards)
            best.update(found.x, victim.query(found.x, rows), rows)
            rows = victim.all[~best.success]
        return best


def _part(victim: Victim, rows: Rows, member: APGD | FAB | Square) -> Victim:
    """The examples `rows` as a victim of their own, under the member's objective."""
    objective = member.objective if isinstance(member, APGD) else "margin"
    return Victim(victim.encode, victim.clean[rows], victim.bank.take(rows), victim.keys[rows.cpu()], objective)
