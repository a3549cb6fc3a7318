"""One of each attack of this room, several threats among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable

from immunize.attacks import PGD, SGA, Attack, BertAttack
from immunize.threats import Ball, Edits

LINF, L2 = Ball("linf", 8 / 255), Ball("l2", 1.0)

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "sga": lambda language: SGA(
        BertAttack(Edits(), language=language, candidates=6, typos=4), PGD(LINF, steps=2, scales=(0.5,))
    ),
    "sga once": lambda language: SGA(BertAttack(Edits(words=2), typos=4), PGD(L2, steps=2), again=False),
}
