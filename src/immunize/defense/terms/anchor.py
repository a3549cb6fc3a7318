"""Embeddings held where the model before training had them: FARE's loss of images, LEAF's of captions."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from immunize.config import frozen
from immunize.defense.terms.weight import Weight
from immunize.defense.views import Of, View, Views


@frozen
class Anchor:
    """mean over the batch of ||f(x') - f0(x)||^2 (FARE, arXiv:2402.12336 eq. 3) or, tower text, ||g(t') - g0(t)||^2 (LEAF).

    f0, g0: the model before training, on the clean half. LEAF: arXiv:2506.03355. Distances are on the unit sphere, where
    FARE takes the vectors before they are normalized: retrieval sees directions alone, and a distance between lengths would
    make the weight depend on the tower. of: clean holds the clean embeddings instead, which is distillation.
    """

    tower: Literal["image", "text"] = "image"
    of: Of = "attacked"
    weight: Weight = 1.0
    kind: Literal["anchor"] = "anchor"

    @property
    def looks(self) -> tuple[View, ...]:
        return View(self.tower, self.of), View(self.tower, "clean", "reference")

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        now, before = map(views, self.looks)
        return (now - before).square().sum(dim=-1).mean()
