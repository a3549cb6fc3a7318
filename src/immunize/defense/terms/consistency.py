"""L_consistency: how far captions lie from their own images."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from immunize.config import frozen
from immunize.defense.terms.weight import Weight
from immunize.defense.views import Of, View, Views
from immunize.objectives import consistency


@frozen
class Consistency:
    """mean (or `sum`) over pairs of ||f(image) - g(text)||^2, on unit vectors 2 - 2 cos.

    The sum of the definition weighs more against the other terms, all of them means, the larger the batch; the mean does not.
    """

    image: Of = "clean"
    text: Of = "clean"
    reduction: Literal["mean", "sum"] = "mean"
    weight: Weight = 1.0
    kind: Literal["consistency"] = "consistency"

    @property
    def looks(self) -> tuple[View, ...]:
        return View("image", self.image), View("text", self.text)

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        image, text = map(views, self.looks)
        distance = consistency(image, text, views.owner, views.scale())
        return distance.sum() if self.reduction == "sum" else distance.mean()
