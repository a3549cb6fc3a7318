"""Where the model looks for a caption, held where it looked before: TGA-ZSR's two terms."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.config import frozen
from immunize.defense.terms.weight import Weight
from immunize.defense.views import By, Of, View, Views


@frozen
class Attention:
    """mean over captions and places p of (A_p(image) - A0_p(x))^2, A_p = <f_p(image), g(t)>: text-guided attention maps.

    f_p: the projected features at place p of the map, unit vectors; A0: the model before training on the clean image. Of
    the attacked image it is TGA-ZSR's refinement, of the clean one its constraint (arXiv:2410.21802; weights .08 and .05).
    Raises NotImplementedError where the vision tower has no map (`Clip.encode_places`).
    """

    of: Of = "attacked"
    weight: Weight = 1.0
    kind: Literal["attention"] = "attention"

    @property
    def looks(self) -> tuple[View, ...]:
        now = View("places", self.of), View("text", "clean")
        return *now, View("places", "clean", "reference"), View("text", "clean", "reference")

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        return (self.map(views, self.of, "student") - self.map(views, "clean", "reference")).square().mean()

    def map(self, views: Views, of: Of, by: By) -> Float[Tensor, "c p"]:
        """A, a row for each caption."""
        places, text = views(View("places", of, by)), views(View("text", "clean", by))
        with torch.autocast(text.device.type, enabled=False):
            return torch.einsum("cpd,cd->cp", places[views.owner], text)
