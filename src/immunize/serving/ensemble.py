"""The mean of what a model says of several views of an image."""

from __future__ import annotations

from typing import Literal

from torch import Generator
from torch.nn.functional import normalize

from immunize.batch import Embedding, Image
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.models.wrapped import Wrapped
from immunize.serving.views import Views

EIGHT = Views(("same", "shift", "blur", "contrast", "jpeg", "shift", "blur", "jpeg"))


@frozen
class Ensemble:
    """f~(x) = sum_i f(T_i x) / ||sum_i f(T_i x)||, the bar for any serving-time defense (arXiv:2504.11195 compares with it).

    seed: None takes the views as they are; a number draws their strengths, the same at each call.
    """

    views: Views = EIGHT
    seed: int | None = None
    kind: Literal["ensemble"] = "ensemble"

    @property
    def passes(self) -> int:
        """One of the vision tower for each view of an image."""
        return len(self.views)

    def around(self, model: DualEncoder) -> Ensembled:
        return Ensembled(model, self)

    def twin(self) -> Ensemble:
        """Itself: every view is differentiable."""
        return self


class Ensembled(Wrapped):
    """`model` asked about views of each image, all in one pass."""

    def __init__(self, model: DualEncoder, defense: Ensemble) -> None:
        Wrapped.__init__(self, model)
        self.defense = defense

    def encode_image(self, images: Image) -> Embedding:
        seed = self.defense.seed
        views = self.defense.views(images, None if seed is None else Generator().manual_seed(seed))
        features = self.model.encode_image(views.flatten(0, 1))
        return normalize(features.unflatten(0, views.shape[:2]).mean(dim=0), dim=-1)
