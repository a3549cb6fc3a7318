"""A random point of the threat: the floor that every attack must beat."""

from __future__ import annotations

from typing import Literal

from torch import Generator

from immunize.attacks.victim import Best, Victim
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed
from immunize.threats import Ball, Waveform


@frozen
class Noise:
    """x + uniform noise in the ball; what the model does under it is no attack, and stronger attacks must do more."""

    threat: Ball | Waveform
    kind: Literal["noise"] = "noise"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        seed = draw_seed(rng)
        with Victim.of(model, batch) as victim:
            best = Best(victim.clean)
            x = self.threat.sample(victim.clean, victim.keys, seed)
            best.update(x, victim.query(x, victim.all), victim.all)
            return victim.finish(batch, best)
