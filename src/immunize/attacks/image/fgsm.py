"""One step along the gradient."""

from __future__ import annotations

from typing import Literal

from torch import Generator

from immunize.attacks.image.pgd import PGD
from immunize.attacks.victim import Best, Victim, searched
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import Name
from immunize.threats import Ball, Waveform


@frozen
class FGSM:
    """x = project(clean + reach * steepest(grad)): one step as long as the threat allows (arXiv:1412.6572 sec. 4).

    For l_inf the sign of the gradient, for l_2 its direction (FGM). objective: see `immunize.objectives`. targeted:
    towards `Batch.targets`. The clean image is judged too, and wins where the step has made things worse.
    """

    threat: Ball | Waveform
    objective: Name = "cross_entropy"
    targeted: bool = False
    kind: Literal["fgsm"] = "fgsm"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, self.objective, self.targeted)

    def search(self, victim: Victim, seed: int) -> Best:
        """The better of the clean example and the one a step away."""
        step = PGD(self.threat, steps=1, step=1.0, random_start=False, objective=self.objective)
        return step.search(victim, seed)
