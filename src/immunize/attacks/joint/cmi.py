"""CMI-Attack: the text against a randomly perturbed image, then the image with momentum."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Generator

from immunize.attacks.image.pgd import PGD, Point
from immunize.attacks.joint.halves import Text
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed, keys


@frozen
class CMI:
    """t' = text(t; x + noise), then x' = image(x; t') whose first step is along the plain gradient (arXiv:2403.10883).

    image: the ascent from that same noise (unless `random_start` is off), published with `momentum` .9, SGA's `scales`
    and eleven `steps`, of which the first goes without the resized copies. The text stays as it is afterwards.
    """

    text: Text
    image: PGD
    kind: Literal["cmi"] = "cmi"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        seed = draw_seed(rng)
        noisy = self.image.threat.sample(batch.images.float(), keys(batch.image_ids), seed)
        edited = replace(self.text(model, replace(batch, images=noisy), rng), images=batch.images)
        with Victim.of(model, edited, self.image.objective, self.image.targeted) as victim:
            return victim.finish(edited, self.image.search(victim, seed, rule=self._direction))

    def _direction(self, victim: Victim, at: Point) -> Signal:
        return self.image.gradient(victim, at) if at.k else victim.gradient(at.value, at.x, at.rows)
