"""Separate attacks: image and text, each against the other's clean half."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Generator

from immunize.attacks.joint.halves import Image, Text
from immunize.attacks.verdict import judged
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder


@frozen
class SepAttack:
    """(image(x; t), text(t; x)), both from the clean pair: what joint attacks must beat (arXiv:2206.09391).

    text, image: any attack on that half. Neither knows of the other, so together they may even undo one another.
    """

    text: Text
    image: Image
    kind: Literal["sep_attack"] = "sep_attack"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        edited = self.text(model, batch, rng)
        attacked = self.image(model, replace(batch, outcome=None), rng)
        spent = edited.outcome if attacked.outcome is None else attacked.outcome.after(edited.outcome)
        return judged(model, replace(edited, images=attacked.images, outcome=spent))
