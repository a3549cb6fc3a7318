"""The nearest boundary of the linearized model, again and again."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.image.nearest import Nearest
from immunize.attacks.victim import Best, Rows, Victim
from immunize.batch import Batch, Embedding, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import Bank
from immunize.threats import Ball

TINY = 1e-4  # logits past the boundary: what overshoot does for an image that stands on one


@frozen
class DeepFool:
    """r <- r + distance * direction to the nearest linearized boundary, x = clean + (1 + overshoot) r (arXiv:1511.04599).

    Algorithm 2 for l_2, section 3.3 for l_inf, in the box [0, 1]. threat: an infinite ball asks for the nearest fooling
    image anywhere; in a finite one the result is projected onto it and judged again. steps: the most there are; a fooled
    image leaves. overshoot: of the whole perturbation. candidates: how many wrong texts are looked at, those nearest to
    the image's embedding first. slack: a text is passed over where even a tower `slack` times as steep as any gradient of
    this step would have left it farther than the nearest boundary so far; "inf" looks at all candidates.
    """

    threat: Ball = Ball("l2", torch.inf)
    steps: Annotated[int, Field(ge=0)] = 50
    overshoot: Annotated[float, Field(ge=0)] = 0.02
    candidates: Annotated[int, Field(ge=1)] = 10
    slack: Annotated[float, Field(ge=1)] = 2.0
    kind: Literal["deepfool"] = "deepfool"

    def __post_init__(self) -> None:
        if self.threat.norm == "l0":
            raise ValueError("threat: DeepFool looks in l2 or linf; for l0 take JSMA")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        with Victim.of(model, batch) as victim:
            return victim.finish(batch, self.search(victim))

    def search(self, victim: Victim) -> Best:
        """The nearest point found for each example of `victim`, whatever its signals are."""
        near, rows, clean = Nearest(self.threat, victim.clean), victim.all, victim.clean
        r = torch.zeros_like(clean)
        for k in range(self.steps + 1):
            x = (clean + (1 + self.overshoot) * r).clamp(0, 1).requires_grad_(k < self.steps)
            image = victim.embed(x, rows)
            judged = victim.verdict(image, rows)
            near.update(x, judged, rows)
            left = ~judged.success
            if k == self.steps or not left.any():
                break
            step = self._to_boundary(victim, x, image, rows, left)[left]
            rows, clean = rows[left], clean[left]
            r = (clean + r[left] + step).clamp(0, 1) - clean
        return near.inside(victim)

    def _to_boundary(self, victim: Victim, x: Signal, image: Embedding, rows: Rows, left: Bool[Tensor, " n"]) -> Signal:
        """The shortest way to a boundary of the model that is linear with the gradients here, where `left`."""
        bank, at = victim.bank.take(rows), left.new_ones(len(rows)).nonzero()[:, 0]
        gaps = _gaps(image, bank)
        apart, slopes, order = self._candidates(image.detach(), bank)
        shortest, gain = torch.full_like(apart[:, 0], torch.inf), torch.zeros_like(apart[:, 0])
        downhill = torch.zeros_like(x)
        for j in range(order.shape[1]):
            left = left & ~(apart[:, j] >= self.slack * gain * shortest)
            wanted = left[at]
            if not wanted.any():
                break
            if 2 * wanted.sum() < len(at):  # a new pass of those alone costs less than the others' backward
                at, x, wanted = at[wanted], x.detach()[wanted].requires_grad_(), wanted[wanted]
                gaps = _gaps(victim.embed(x, rows[at]), bank.take(at))
            gap = gaps.gather(1, order[at, j, None])[:, 0]
            gradient = -victim.gradient(gap, x, rows[at], retain=True)
            gradient = gradient * torch.where(gradient < 0, x.detach() > 0, x.detach() < 1)
            steepness = gradient.flatten(1).norm(p=2 if self.threat.norm == "l2" else 1, dim=1)
            gain[at] = torch.maximum(gain[at], steepness / slopes[at, j])
            distance = (gap.detach() + TINY) / steepness.clamp(min=1e-12)
            nearer = wanted & (distance < shortest[at])
            downhill[at[nearer]], shortest[at[nearer]] = gradient[nearer], distance[nearer]
        return shortest.view(-1, *[1] * (x.dim() - 1)) * self.threat.steepest(downhill)

    def _candidates(self, image: Embedding, bank: Bank) -> tuple[Tensor, Tensor, Tensor]:
        """Distance of the embedding to each text's boundary, steepness there and text: the nearest ones, in order."""
        right = bank.logits(image).masked_fill(~bank.own, -torch.inf).argmax(dim=1)
        slopes = bank.scale * _apart(bank.text[right], bank.text).clamp(min=1e-6)
        same = bank.own | (slopes <= 1e-5 * bank.scale)  # a copy of an own text can at most be level with it
        apart = (_gaps(image, bank) / slopes).masked_fill(same, torch.inf)
        apart, order = apart.topk(min(self.candidates, apart.shape[1]), dim=1, largest=False)
        return apart, slopes.gather(1, order), order


def _gaps(image: Embedding, bank: Bank) -> Float[Tensor, "n k"]:
    """How far each text is behind the best of the image's own."""
    logits = bank.logits(image)
    return logits.masked_fill(~bank.own, -torch.inf).amax(dim=1, keepdim=True) - logits


def _apart(a: Float[Tensor, "n d"], b: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """||a_i - b_j||, exact for copies too."""
    return torch.cdist(a.float(), b.float(), compute_mode="donot_use_mm_for_euclid_dist")
