"""Weights between two models, in place of a choice between them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from immunize.config import frozen
from immunize.models import Clip, load
from immunize.models.blending import blended
from immunize.models.dual_encoder import DualEncoder


@frozen
class Interpolated:
    """w~ = share * w + (1 - share) * w_other: WiSE-FT (arXiv:2109.01903 sec. 3) between the model and that of `other`.

    other: a folder that `models.save` wrote, of the same architecture. It takes the place of a model's weights, so a
    wrapped model is refused with ValueError: in a composition it stands last, next to the model.
    """

    other: str
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    kind: Literal["interpolated"] = "interpolated"

    @property
    def passes(self) -> int:
        """One of the vision tower for each image."""
        return 1

    def around(self, model: DualEncoder) -> Clip:
        if not isinstance(model, Clip):
            raise ValueError(f"interpolated: weights are mixed of Clips, not of a {type(model).__name__}; put it last")
        return blended(model, load(self.other), self.share)

    def twin(self) -> Interpolated:
        """Itself: a model like any other."""
        return self
