"""One of each attack of this room, several threats among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable

from immunize.attacks import PGD, Attack, Noise
from immunize.threats import Ball

LINF, L2 = Ball("linf", 8 / 255), Ball("l2", 1.0)

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "noise": lambda language: Noise(LINF),
    "noise l2": lambda language: Noise(L2),
    "pgd": lambda language: PGD(LINF, steps=3),
    "pgd l2": lambda language: PGD(L2, steps=3, decay=True, restarts=2, objective="consistency"),
    "pgd l0": lambda language: PGD(Ball("l0", 60.0), steps=3, momentum=0.9, objective="margin"),
    "pgd scales": lambda language: PGD(LINF, steps=2, scales=(0.5, 1.5), random_start=False),
    "pgd early": lambda language: PGD(LINF, steps=4, objective="margin", early_stop=True),
}
