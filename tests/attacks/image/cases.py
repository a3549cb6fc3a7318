"""One of each attack of this room, several threats among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable

from immunize.attacks import PGD, Attack, Noise
from immunize.attacks.image import APGD, DEJSMA, FAB, FGSM, JSMA, AutoAttack, CarliniWagner, DeepFool, Universal
from immunize.threats import Ball

LINF, L2 = Ball("linf", 8 / 255), Ball("l2", 1.0)

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "noise": lambda language: Noise(LINF),
    "noise l2": lambda language: Noise(L2),
    "fgsm": lambda language: FGSM(LINF),
    "fgsm l2": lambda language: FGSM(L2, objective="away"),
    "pgd": lambda language: PGD(LINF, steps=3),
    "pgd l2": lambda language: PGD(L2, steps=3, decay=True, restarts=2, objective="consistency"),
    "pgd l0": lambda language: PGD(Ball("l0", 60.0), steps=3, momentum=0.9, objective="margin"),
    "pgd scales": lambda language: PGD(LINF, steps=2, scales=(0.5, 1.5), random_start=False),
    "pgd early": lambda language: PGD(LINF, steps=4, objective="margin", early_stop=True),
    "apgd": lambda language: APGD(LINF, steps=5),
    "apgd l2": lambda language: APGD(L2, steps=4, objective="dlr", restarts=2, early_stop=True),
    "apgd targets": lambda language: APGD(LINF, steps=3, objective="dlr", targets=3, early_stop=True),
    "fab": lambda language: FAB(LINF, steps=4, targets=2),
    "fab l2": lambda language: FAB(L2, steps=3, targets=2, restarts=2, early_stop=True),
    "auto": lambda language: AutoAttack(LINF, steps=3, targets=2, queries=20),
    "deepfool": lambda language: DeepFool(),
    "deepfool linf": lambda language: DeepFool(LINF, steps=5),
    "carlini_wagner": lambda language: CarliniWagner(steps=30, searches=2),
    "carlini_wagner l2": lambda language: CarliniWagner(L2, steps=10, constant=10.0, searches=1, confidence=0.5),
    "jsma": lambda language: JSMA(Ball("l0", 9.0)),
    "jsma small": lambda language: JSMA(Ball("l0", 30.0), theta=0.5, pixels=4),
    "de_jsma": lambda language: DEJSMA(Ball("l0", 9.0), queries=24, population=8),
    "universal": lambda language: Universal(LINF, f"{language}/universal.safetensors"),
}
