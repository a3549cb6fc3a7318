"""A perturbation where the modalities meet: on the embeddings, a few steps that no tower takes part in."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from immunize.batch import Embedding
from immunize.config import frozen
from immunize.defense.terms.weight import Weight
from immunize.defense.views import Of, View, Views
from immunize.objectives import infonce

Pair = tuple[Embedding, Float[Tensor, "c d"]]


@frozen
class Fused:
    """max over ||d||_2 <= eps of mean InfoNCE(normalize(f + d_f), normalize(g + d_g)), one d for each embedding.

    After VILLA (arXiv:2006.06195), which perturbs the embeddings that go into a fusion transformer; in a dual
    encoder the modalities meet at the projection. `steps` ascents of `step` * eps along each row's gradient from d = 0, on
    the embeddings alone, then one loss whose gradient goes through the towers with d fixed.
    """

    image: Of = "clean"
    text: Of = "clean"
    eps: Annotated[float, Field(gt=0)] = 0.1
    steps: Annotated[int, Field(ge=1)] = 2
    step: Annotated[float, Field(gt=0)] = 0.75
    weight: Weight = 1.0
    kind: Literal["fused"] = "fused"

    @property
    def looks(self) -> tuple[View, ...]:
        return View("image", self.image), View("text", self.text)

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        image, text = map(views, self.looks)
        away = self.ascend((image.detach(), text.detach()), views)
        return _shifted((image, text), away, views, views.scale()).mean()

    def ascend(self, pair: Pair, views: Views) -> Pair:
        """The perturbations (d_f, d_g) of given embeddings."""
        scale, away = views.scale().detach(), (torch.zeros_like(pair[0]), torch.zeros_like(pair[1]))
        with torch.enable_grad():
            for _ in range(self.steps):
                away = (away[0].requires_grad_(), away[1].requires_grad_())
                gradients = torch.autograd.grad(_shifted(pair, away, views, scale).sum(), away)
                image, text = (
                    _within(d.detach() + self.step * self.eps * normalize(g, dim=-1), self.eps)
                    for d, g in zip(away, gradients, strict=True)
                )
                away = image, text
        return away


def _shifted(pair: Pair, away: Pair, views: Views, scale: Float[Tensor, ""]) -> Float[Tensor, " c"]:
    image, text = (normalize(z + d, dim=-1) for z, d in zip(pair, away, strict=True))
    return infonce(image, text, views.owner, scale)


def _within(d: Embedding, eps: float) -> Embedding:
    """The nearest point of each row in the ball of radius eps."""
    return d * (eps / d.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
