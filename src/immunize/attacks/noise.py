"""A random point of the threat: the floor that every attack must beat."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Generator

from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed, keys
from immunize.threats import Ball


@frozen
class Noise:
    """x + uniform noise in the ball; what the model does under it is no attack, and stronger attacks must do more."""

    threat: Ball
    kind: Literal["noise"] = "noise"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return replace(batch, images=self.threat.sample(batch.images, keys(batch.image_ids), draw_seed(rng)))
