"""No defense: what the others are compared with."""

from __future__ import annotations

from typing import Literal

from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder


@frozen
class Undefended:
    """The model itself."""

    kind: Literal["none"] = "none"

    @property
    def passes(self) -> int:
        """Passes of the vision tower that an image costs."""
        return 1

    def around(self, model: DualEncoder) -> DualEncoder:
        return model

    def twin(self) -> Undefended:
        """What an attacker with the weights differentiates: itself."""
        return self
