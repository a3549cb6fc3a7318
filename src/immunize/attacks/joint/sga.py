"""Set-level guidance attack: text, then image against the edited text, then text again against the attacked image."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Generator

from immunize.attacks.joint.halves import Image, Text
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder


@frozen
class SGA:
    """t' = text(t; x), x' = image(x; all t' of x), t'' = text(t; x') from the original captions (arXiv:2307.14061).

    text, image: any attack on that half; published with `PGD` and its `scales`, the set of resized copies. again: false
    ends at (x', t'), the inner maximization of MAT (arXiv:2405.18770 sec. 4.2.1).
    """

    text: Text
    image: Image
    again: bool = True
    kind: Literal["sga"] = "sga"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        edited = self.text(model, batch, rng)
        attacked = self.image(model, edited, rng)
        return self.text(model, replace(attacked, captions=batch.captions), rng) if self.again else attacked
