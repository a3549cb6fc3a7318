"""One of each attack of this room, several threats among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable

from immunize.attacks import CMI, DRA, PGD, SAAET, SGA, Attack, BertAttack, CoAttack, SepAttack, Simultaneous
from immunize.attacks.text import Relaxed
from immunize.threats import Ball, Edits

LINF, L2 = Ball("linf", 8 / 255), Ball("l2", 1.0)
TYPOS = BertAttack(Edits(words=2), typos=4)
MIXED = Relaxed(Edits(words=2), typos=8, steps=3)

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "sga": lambda language: SGA(
        BertAttack(Edits(), language=language, candidates=6, typos=4), PGD(LINF, steps=2, scales=(0.5,))
    ),
    "sga once": lambda language: SGA(TYPOS, PGD(L2, steps=2), again=False),
    "sep": lambda language: SepAttack(TYPOS, PGD(LINF, steps=2, objective="margin")),
    "co": lambda language: CoAttack(TYPOS, PGD(LINF, steps=3)),
    "co legacy": lambda language: CoAttack(TYPOS, PGD(LINF, steps=3), alpha=1.0, legacy=True),
    "dra": lambda language: DRA(TYPOS, PGD(LINF, steps=2, scales=(0.5,)), samples=3),
    "sa-aet": lambda language: SAAET(BertAttack(Edits(), typos=8), PGD(L2, steps=4), samples=2, rank=8),
    "sa-aet linf": lambda language: SAAET(BertAttack(Edits(), typos=8), PGD(LINF, steps=3), samples=2, rank=8),
    "cmi": lambda language: CMI(TYPOS, PGD(LINF, steps=3, momentum=0.9, scales=(1.25,))),
    "simultaneous": lambda language: Simultaneous(MIXED, PGD(LINF, steps=2)),
    "simultaneous last": lambda language: Simultaneous(MIXED, PGD(LINF, steps=1, scales=(0.5,)), last=TYPOS),
}
