"""An attack on one model that knows the detector before it, as one attack among others: what it finds is one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from immunize.batch import Batch, Outcome
from immunize.evaluation.adaptive.aware import Aware
from immunize.evaluation.adaptive.system import Alarm, Known, Screened
from immunize.evaluation.adaptive.target import Target
from immunize.models import DualEncoder


@dataclass(frozen=True, slots=True)
class Evading:
    """`attack` on the model behind `alarm`: of its candidates for each pair that of least suspicion among those that fool.

    Where none fools, the one of least suspicion. success: fooled, flagged or not, so that a detection table can tell both.
    """

    attack: Aware
    alarm: Alarm

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        system = Known(Screened(model, self.alarm))
        return calmest(system, self.attack(system, batch, rng))


@torch.no_grad()
def calmest(system: Known, candidates: Mapping[str, Batch]) -> Batch:
    """For each pair the candidate of least suspicion, as an 8-bit file would hold it; those that fool before the others."""
    batches = list(candidates.values())
    seen = [_seen(system, batch) for batch in batches]
    wrong, suspicion = (torch.stack(column) for column in zip(*seen))
    order = torch.where(wrong, suspicion, suspicion + (suspicion.max() - suspicion.min() + 1))
    best = order.argmin(dim=0)
    rows = torch.arange(len(best), device=best.device)
    images = torch.stack([batch.images for batch in batches])[best, rows]
    costs = [batch.outcome for batch in batches if batch.outcome is not None]
    outcome = Outcome(
        success=wrong[best, rows],
        value=-suspicion[best, rows],
        forwards=sum((cost.forwards for cost in costs), torch.zeros_like(best)),
        backwards=sum((cost.backwards for cost in costs), torch.zeros_like(best)),
        texts=sum((cost.texts for cost in costs), torch.zeros_like(best)),
    )
    return replace(batches[0], images=images, outcome=outcome)


def _seen(system: Known, batch: Batch) -> tuple[Bool[Tensor, " n"], Float[Tensor, " n"]]:
    """Which pairs are answered wrongly, and how suspicious each is."""
    rows = torch.arange(len(batch), device=batch.images.device)
    with Target.of(system, batch) as target, torch.no_grad():
        answer = target.serve(batch.images, rows)
        return answer.margin > 0, target.suspicion((batch.images * 255).round() / 255, rows)
