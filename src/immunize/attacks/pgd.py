"""Projected gradient ascent on the pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from immunize.batch import Batch, Embedding, Image
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_captions, untouched
from immunize.objectives import OBJECTIVES, Name
from immunize.rng import draw_seed, keys
from immunize.threats import Ball


@frozen
class PGD:
    """x <- project(x + step * eps * steepest(grad)), steps + 1 points judged, the best kept (arXiv:1706.06083 sec. 2.1).

    step: fraction of eps, multiplied along a cosine to 0 when `decay`. random_start: uniform in the ball, two-sided.
    restarts: further starts; each image keeps its best. scales: besides the image itself, resized copies (down or up and
    back, with `noise` added first) whose gradients are summed (SGA, arXiv:2307.14061 sec. 4.2). objective: see
    `immunize.objectives`; `infonce` takes the batch's other captions as negatives, the others are free of the batch.
    The captions are those of the batch, encoded once.
    """

    threat: Ball
    steps: Annotated[int, Field(ge=0)] = 10
    step: float = 0.25
    decay: bool = False
    random_start: bool = True
    restarts: Annotated[int, Field(ge=1)] = 1
    scales: tuple[float, ...] = ()
    noise: float = 0.05
    objective: Name = "away"
    kind: Literal["pgd"] = "pgd"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        seed = draw_seed(rng)
        with untouched(model):
            text = encode_captions(model, batch.captions)
            best = batch.images
            best_value = torch.full((len(batch),), -torch.inf, device=best.device)
            for restart in range(self.restarts):
                x, value = self._ascend(model, batch, text, seed + restart)
                better = value > best_value
                best = torch.where(better.view(-1, 1, 1, 1), x, best)
                best_value = torch.where(better, value, best_value)
        return replace(batch, images=best.detach())

    def _ascend(self, model: DualEncoder, batch: Batch, text: Embedding, seed: int) -> tuple[Image, Tensor]:
        clean = batch.images.float()
        x = self.threat.sample(clean, keys(batch.image_ids), seed) if self.random_start else clean
        noise = Generator().manual_seed(seed)
        best, best_value = clean, torch.full((len(clean),), -torch.inf, device=clean.device)
        for k in range(self.steps + 1):
            x = x.detach().requires_grad_()
            value = self._value(model.encode_image(x), text, batch.owner, model.logit_scale)
            better = value.detach() > best_value
            best = torch.where(better.view(-1, 1, 1, 1), x.detach(), best)
            best_value = torch.where(better, value.detach(), best_value)
            if k == self.steps:
                break
            total = value.sum() + sum(
                self._value(
                    model.encode_image(_rescaled(x, s, self.noise, noise)), text, batch.owner, model.logit_scale
                ).sum()
                for s in self.scales
            )
            (gradient,) = torch.autograd.grad(total, x)
            x = self.threat.project(x.detach() + self._length(k) * self.threat.steepest(gradient), clean)
        return best, best_value

    def _value(
        self, image: Embedding, text: Float[Tensor, "c d"], owner: Int[Tensor, " c"], scale: Float[Tensor, ""]
    ) -> Float[Tensor, " b"]:
        """The objective of each image: the sum over its captions, in float32, never the mean."""
        pairs = OBJECTIVES[self.objective](image, text, owner, scale).float()
        return torch.zeros(len(image), device=image.device).index_add(0, owner, pairs)

    def _length(self, k: int) -> float:
        fade = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * k / self.steps)).item()) if self.decay else 1.0
        return self.step * self.threat.eps * fade


def _rescaled(x: Image, scale: float, noise: float, rng: Generator) -> Image:
    """The image with Gaussian noise (one draw for the whole batch, so batches do not matter), resized and back."""
    height, width = x.shape[-2:]
    x = x + noise * torch.randn(x.shape[1:], generator=rng).to(x.device)
    small = interpolate(x, (max(1, round(height * scale)), max(1, round(width * scale))), mode="bicubic")
    return interpolate(small, (height, width), mode="bicubic")
