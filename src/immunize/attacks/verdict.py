"""The model's word on a batch as it is, for attacks that are put together from others."""

from __future__ import annotations

import torch

from immunize.attacks.victim import Best, Victim
from immunize.batch import Batch, Outcome
from immunize.models.dual_encoder import DualEncoder


def judged(model: DualEncoder, batch: Batch, targeted: bool = False) -> Batch:
    """The batch with success and margin of each image against all texts as they now are; one more forward pass each."""
    with Victim.of(model, batch, "margin", targeted) as victim:
        best = Best(victim.clean)
        best.update(victim.clean, victim.query(victim.clean, victim.all), victim.all)
        return victim.finish(batch, best)


def unspent(batch: Batch) -> Outcome:
    """No success and no cost, to add to."""
    nothing = torch.zeros(len(batch), dtype=torch.int64, device=batch.images.device)
    return Outcome(nothing.bool(), nothing.float(), nothing, nothing, nothing)
