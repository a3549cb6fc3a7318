"""What an attack maximizes and training minimizes: pure, one value an example, bigger is better for the attacker.

Training looks at pairs (`away`, `consistency`, `infonce`, `triplet`: one value a caption); an attack looks at each image
against a `Bank` of texts, and `OBJECTIVES` names what it may maximize there, the pairs' losses summed over its captions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.batch import Embedding
from immunize.objectives.bank import Bank
from immunize.objectives.consistency import away, consistency
from immunize.objectives.contrastive import infonce
from immunize.objectives.cosines import cosines
from immunize.objectives.ranking import cross_entropy, dlr, fooled, gap, margin
from immunize.objectives.triplet import triplet

Objective = Callable[[Embedding, Bank], Float[Tensor, " b"]]
Name = Literal["away", "consistency", "infonce", "cross_entropy", "margin", "dlr"]


def _away(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
    """-cos summed over the image's texts, as one product, no index that a device would have to wait for."""
    return -bank.sign * (cosines(image.float(), bank.text.float()) * bank.aim).sum(dim=1)


def _consistency(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
    """||f_vis - f_txt||^2 summed over the image's texts."""
    lengths = image.float().square().sum(dim=1, keepdim=True) + bank.text.float().square().sum(dim=1)
    squared = lengths - 2 * cosines(image.float(), bank.text.float())
    return bank.sign * (squared * bank.aim).sum(dim=1)


def _infonce(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
    """InfoNCE summed over the image's texts, the negatives being the batch's own pairs; the gallery has no part in it."""
    owner, text = bank.aim.nonzero(as_tuple=True)
    pairs = infonce(image, bank.text[text], owner, bank.scale).float()
    return bank.sign * torch.zeros(len(image), device=image.device).index_add(0, owner, pairs)


OBJECTIVES: Mapping[Name, Objective] = {
    "away": _away,
    "consistency": _consistency,
    "infonce": _infonce,
    "cross_entropy": cross_entropy,
    "margin": margin,
    "dlr": dlr,
}

__all__ = [
    "OBJECTIVES", "Bank", "Name", "Objective", "away", "consistency", "cosines", "cross_entropy", "dlr", "fooled", "gap",
    "infonce", "margin", "triplet",
]  # fmt: skip
