"""Attacks are values: `attack(model, batch, rng) -> batch`, inside their threat, the clean batch and the model untouched.

The same seed gives the same result whatever the batch size; parameters, gradients, train/eval flags and the global random
state are as before; a threat of radius 0 gives the batch back. `Batch.outcome` says what the attack did to each example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any

from pydantic import Field
from torch import Generator

from immunize.attacks.image import PGD, ImageAttack, Noise
from immunize.attacks.joint import SGA, JointAttack
from immunize.attacks.text import BertAttack, TextAttack
from immunize.batch import Batch
from immunize.models.dual_encoder import DualEncoder

Attack = Annotated[ImageAttack | TextAttack | JointAttack, Field(discriminator="kind")]
Perturb = Callable[[DualEncoder, Batch, Generator], Batch]


def parts(attack: Any) -> Iterator[Any]:
    """The attack itself and every attack that it is made of."""
    if isinstance(attack, tuple):
        for one in attack:
            yield from parts(one)
    elif is_dataclass(attack) and any(field.name == "kind" for field in fields(attack)):
        yield attack
        for field in fields(attack):
            yield from parts(getattr(attack, field.name))


__all__ = ["PGD", "SGA", "Attack", "BertAttack", "Noise", "Perturb", "parts"]
