"""Each pair against the hardest wrong partner in the batch."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from immunize.config import frozen
from immunize.defense.terms.weight import Weight
from immunize.defense.views import Of, View, Views
from immunize.objectives import triplet


@frozen
class Triplet:
    """mean over pairs of [margin - s(x, t) + max s(x, t_wrong)]_+ + [margin - s(x, t) + max s(x_wrong, t)]_+, s = cos.

    VSE++, arXiv:1707.05612 eq. 6: the hardest negatives of the batch alone, an alternative to `contrast`.
    """

    image: Of = "clean"
    text: Of = "clean"
    margin: Annotated[float, Field(gt=0)] = 0.2
    weight: Weight = 1.0
    kind: Literal["triplet"] = "triplet"

    @property
    def looks(self) -> tuple[View, ...]:
        return View("image", self.image), View("text", self.text)

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        image, text = map(views, self.looks)
        return triplet(image, text, views.owner, self.margin).mean()
