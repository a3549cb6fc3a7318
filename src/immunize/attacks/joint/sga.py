"""Set-level guidance attack: text, then image against the edited text, then text again against the attacked image."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Generator

from immunize.attacks.image.pgd import PGD
from immunize.attacks.text.bert_attack import BertAttack
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder


@frozen
class SGA:
    """t' = text(t; x), x' = image(x; all t' of x), t'' = text(t; x') from the original captions (arXiv:2307.14061).

    With `again` false it ends at (x', t'): the inner maximization of MAT (arXiv:2405.18770 sec. 4.2.1). `image.scales`
    is the set of resized copies; with none it is Co-Attack's order without its objective.
    """

    text: BertAttack
    image: PGD
    again: bool = True
    kind: Literal["sga"] = "sga"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        edited = self.text(model, batch, rng)
        attacked = self.image(model, edited, rng)
        return self.text(model, replace(attacked, captions=batch.captions), rng) if self.again else attacked
