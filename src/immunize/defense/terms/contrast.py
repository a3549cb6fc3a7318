"""InfoNCE of an image view with a text view."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from immunize.config import frozen
from immunize.defense.terms.weight import Weight
from immunize.defense.views import Of, View, Views
from immunize.objectives import infonce


@frozen
class Contrast:
    """mean over pairs of InfoNCE(f(image), g(text)), several captions of an image being positives (arXiv:2103.00020 fig. 3).

    Of clean and clean fine-tuning, of attacked image and clean text TeCoA (arXiv:2212.07016), of attacked and attacked MAT
    (arXiv:2405.18770); MMCoA (arXiv:2404.19287) has two, each with one half attacked.
    """

    image: Of = "clean"
    text: Of = "clean"
    weight: Weight = 1.0
    kind: Literal["contrast"] = "contrast"

    @property
    def looks(self) -> tuple[View, ...]:
        return View("image", self.image), View("text", self.text)

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        image, text = map(views, self.looks)
        return infonce(image, text, views.owner, views.scale()).mean()
