"""One of each attack made of attacks, one inside the other among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable

from immunize.attacks import PGD, SGA, Attack, BertAttack, Noise, Restarts, Then, Worst
from immunize.threats import Ball, Edits

LINF = Ball("linf", 8 / 255)
TYPOS = BertAttack(Edits(words=2), typos=4)

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "worst": lambda language: Worst((Noise(LINF), PGD(LINF, steps=2), PGD(LINF, steps=2, objective="margin"))),
    "worst stop": lambda language: Worst((PGD(LINF, steps=1), SGA(TYPOS, PGD(LINF, steps=2))), stop=True),
    "restarts": lambda language: Restarts(PGD(LINF, steps=2, objective="margin"), times=2),
    "image then text": lambda language: Then((PGD(LINF, steps=2), TYPOS)),
    "text then restarts": lambda language: Then((TYPOS, Restarts(PGD(LINF, steps=1), times=2, stop=True))),
    "restarts then text": lambda language: Then((Restarts(PGD(LINF, steps=1), times=2, stop=True), TYPOS)),
}
