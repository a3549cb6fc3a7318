"""Attacks are values: `attack(model, batch, rng) -> batch`, inside their threat, the clean batch and the model untouched.

The same seed gives the same result whatever the batch size; parameters, gradients, train/eval flags and the global random
state are as before; a threat of radius 0 gives the batch back. `Batch.outcome` says what the attack did to each example.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator

from immunize.attacks.black_box import (
    BlackBoxAttack,
    EstimatedGradient,
    Genetic,
    HopSkipJump,
    OnePixel,
    Square,
    Transfer,
)
from immunize.attacks.compose import Attack, Restarts, Then, Worst, parts
from immunize.attacks.image import (
    APGD,
    DEJSMA,
    FAB,
    FGSM,
    JSMA,
    PGD,
    AutoAttack,
    CarliniWagner,
    DeepFool,
    ImageAttack,
    Noise,
    Universal,
)
from immunize.attacks.joint import CMI, DRA, SAAET, SGA, CoAttack, JointAttack, SepAttack, Simultaneous
from immunize.attacks.text import LEAF, BertAttack, HotFlip, Relaxed, TextAttack, TextFooler
from immunize.batch import Batch
from immunize.models.dual_encoder import DualEncoder

Perturb = Callable[[DualEncoder, Batch, Generator], Batch]

__all__ = [
    "APGD", "CMI", "DEJSMA", "DRA", "FAB", "FGSM", "JSMA", "LEAF", "PGD", "SAAET", "SGA", "Attack", "AutoAttack",
    "BertAttack", "BlackBoxAttack", "CarliniWagner", "CoAttack", "DeepFool", "EstimatedGradient", "Genetic",
    "HopSkipJump", "HotFlip", "ImageAttack", "JointAttack", "Noise", "OnePixel", "Perturb", "Relaxed", "Restarts",
    "SepAttack", "Simultaneous", "Square", "TextAttack", "TextFooler", "Then", "Transfer", "Universal", "Worst", "parts",
]  # fmt: skip
