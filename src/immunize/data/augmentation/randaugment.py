"""RandAugment: a few random operations on the picture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torchvision.transforms import v2

from immunize.config import frozen
from immunize.data.augmentation.material import Derived, Material, redrawn


@frozen
class RandAugment:
    """x' = `operations` of torchvision's RandAugment at `magnitude` of 31 (Cubuk et al., arXiv:1909.13719 sec. 3).

    n: pictures from each. Colors and places may change, so that a caption about them may be false of x'.
    """

    n: Annotated[int, Field(ge=1)] = 2
    operations: Annotated[int, Field(ge=1)] = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    kind: Literal["randaugment"] = "randaugment"

    def __call__(self, given: Material) -> Derived:
        return redrawn(given, self.kind, self.n, v2.RandAugment(self.operations, self.magnitude))
