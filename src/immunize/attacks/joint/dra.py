"""DRA: SGA with gradients from all over the region that the trajectory spans, and a second text attack guided by all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.image.pgd import PGD
from immunize.attacks.joint.halves import Text
from immunize.attacks.joint.triangle import Triangle
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed


@frozen
class DRA:
    """t' = text(t; x), x' by `image` with gradients in the triangle (x_k, x_{k-1}, x), t'' = text(t; guide).

    samples: points of the triangle tried at each step (`Triangle`), at two passes forward and one back each. guide: the
    weights of f(x), f(x') and f(x_last) in what the second text attack moves away from, x_last being the iterate before
    the final one; the published .6, .2, .2 are of losses, and the loss is linear in the embedding. image: the ascent with
    its resized copies (arXiv:2403.12445).
    """

    text: Text
    image: PGD
    samples: Annotated[int, Field(ge=1)] = 5
    guide: tuple[float, float, float] = (0.6, 0.2, 0.2)
    kind: Literal["dra"] = "dra"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        edited = self.text(model, batch, rng)
        with Victim.of(model, edited, self.image.objective, self.image.targeted) as victim:
            triangle = Triangle(self.image, victim, draw_seed(rng), self.samples)
            best = self.image.search(victim, draw_seed(rng), rule=triangle)
            guide = blend(victim, torch.stack([victim.clean, best.x, triangle.last]), self.guide)
            attacked = victim.finish(edited, best)
        return self.text.edit(model, replace(attacked, captions=batch.captions), guide, rng)


def blend(victim: Victim, images: Float[Tensor, "k b 3 h w"], weights: tuple[float, ...]) -> Embedding:
    """sum_k weights[k] f(images[k]), one pass each."""
    with torch.no_grad():
        found = torch.stack([victim.embed(x, victim.all) for x in images])
    return torch.einsum("k,kbd->bd", torch.tensor(weights, device=found.device), found.float())
