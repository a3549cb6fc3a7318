"""No augmentation: the sparse pairs themselves."""

from __future__ import annotations

from typing import Literal

from immunize.config import frozen
from immunize.data.augmentation.material import Derived, Material, with_captions


@frozen
class Unchanged:
    """Nothing new: what a method that trains on augmented pairs is compared with."""

    kind: Literal["none"] = "none"

    def __call__(self, given: Material) -> Derived:
        return with_captions(given.pairs, [])
