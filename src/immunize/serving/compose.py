"""One defense around the other, and the union of all."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from pydantic import Field

from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.serving.counterattack import Counterattack
from immunize.serving.denoise import Denoise
from immunize.serving.ensemble import Ensemble
from immunize.serving.interpolated import Interpolated
from immunize.serving.none import Undefended
from immunize.serving.purify import Blur, Jpeg, Quantize


@frozen
class Then:
    """The input meets the defenses in this order: (a, b) is a.around(b.around(model))."""

    defenses: Annotated[tuple[Serving, ...], Field(min_length=1)]
    kind: Literal["then"] = "then"

    @property
    def passes(self) -> int:
        """Passes of the vision tower for each image: each defense asks the ones behind it so often."""
        return prod(defense.passes for defense in self.defenses)

    def around(self, model: DualEncoder) -> DualEncoder:
        for defense in reversed(self.defenses):
            model = defense.around(model)
        return model

    def twin(self) -> Then:
        """The twin of each."""
        return Then(tuple(defense.twin() for defense in self.defenses))


Serving = Annotated[
    Undefended | Ensemble | Jpeg | Blur | Quantize | Counterattack | Denoise | Interpolated | Then,
    Field(discriminator="kind"),
]
