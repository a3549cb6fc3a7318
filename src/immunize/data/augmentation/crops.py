"""Random resized crops."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torchvision.transforms import v2

from immunize.config import frozen
from immunize.data.augmentation.material import Derived, Material, redrawn


@frozen
class Crops:
    """x' = a part of x, a share in [least, 1] of its area, sides 3:4 to 4:3, at the size of x (arXiv:1409.4842 sec. 6).

    n: pictures from each. flip: probability of a mirror image, 0 because captions speak of left and right.
    """

    n: Annotated[int, Field(ge=1)] = 2
    least: Annotated[float, Field(gt=0, le=1)] = 0.5
    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    kind: Literal["crops"] = "crops"

    def __call__(self, given: Material) -> Derived:
        size = [*given.pairs.images.shape[-2:]]
        crop = v2.RandomResizedCrop(size, scale=(self.least, 1.0), antialias=True)
        return redrawn(given, self.kind, self.n, v2.Compose([crop, v2.RandomHorizontalFlip(self.flip)]))
