"""Attacks are values: `attack(model, batch, rng) -> batch`, inside their threat, the clean batch and the model untouched.

The same seed gives the same result whatever the batch size; parameters, gradients, train/eval flags and the global random
state are as before; a threat of radius 0 gives the batch back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Generator

from immunize.attacks.bert_attack import BertAttack
from immunize.attacks.noise import Noise
from immunize.attacks.pgd import PGD
from immunize.attacks.sga import SGA
from immunize.batch import Batch
from immunize.models.dual_encoder import DualEncoder

Attack = Annotated[PGD | BertAttack | SGA | Noise, Field(discriminator="kind")]
Perturb = Callable[[DualEncoder, Batch, Generator], Batch]

__all__ = ["PGD", "SGA", "Attack", "BertAttack", "Noise", "Perturb"]
