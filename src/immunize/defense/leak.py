"""A defect of published code, for those who reproduce its numbers: the inner attack's gradients end up in the update."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.image.pgd import Point
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Image, Signal
from immunize.defense.inner import mapped
from immunize.models import Clip
from immunize.objectives import infonce


@dataclass(frozen=True, slots=True)
class Recording(PGD):
    """The same ascent; `seen` are the points where it took a gradient, the first restart's first."""

    seen: list[Tensor] = field(default_factory=list)

    def gradient(self, victim: Victim, at: Point) -> Signal:
        self.seen.append(at.x.detach())
        return PGD.gradient(self, victim, at)


def recorded(inner: Any, model: Clip, batch: Batch, rng: Generator) -> tuple[Batch, list[Image]]:
    """What the attack makes of the batch, and the images at which its ascents took a gradient."""
    seen: list[Tensor] = []

    def record(part: Any) -> Any:
        if type(part) is not PGD:
            return None
        return Recording(**{name: getattr(part, name) for name in PGD.__dataclass_fields__}, seen=seen)

    return mapped(inner, record)(model, batch, rng), seen


def leaked(model: Clip, batch: Batch, seen: list[Image]) -> Float[Tensor, ""]:
    """sum over the points of mean InfoNCE(f(x_k), g(t)) in evaluation mode: its gradient is what was left in `.grad`.

    MMCoA clears gradients before its attack, whose backward passes reach all parameters (github.com/ElleZWQ/MMCoA,
    MMCoA.py:350).
    """
    training = model.training
    model.eval()
    text = model.encode_text(model.tokenize(batch.captions))
    losses = [infonce(model.encode_image(x), text, batch.owner, model.logit_scale).mean() for x in seen]
    model.train(training)
    return torch.stack(losses).sum()
