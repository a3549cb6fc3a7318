"""One of each attack of this room, several threats among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable

from immunize.attacks import PGD, Attack
from immunize.attacks.black_box import EstimatedGradient, Genetic, HopSkipJump, OnePixel, Square, Transfer
from immunize.threats import Ball

LINF, L2 = Ball("linf", 8 / 255), Ball("l2", 1.0)

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "square": lambda language: Square(LINF, queries=60),
    "square l2": lambda language: Square(L2, queries=60, rescaled=False, objective="away"),
    "nes": lambda language: EstimatedGradient(LINF, queries=120),
    "spsa l2": lambda language: EstimatedGradient(L2, queries=120, estimator="spsa", momentum=0.0),
    "hop skip jump": lambda language: HopSkipJump(Ball("linf", 16 / 255), queries=300),
    "hop skip jump l2": lambda language: HopSkipJump(Ball("l2", 2.0), queries=300, directions=20),
    "genetic": lambda language: Genetic(LINF, queries=120),
    "one pixel": lambda language: OnePixel(Ball("l0", 60.0), queries=120, population=20),
    "transfer": lambda language: Transfer(PGD(LINF, steps=5, objective="consistency"), knows="vision"),
}
