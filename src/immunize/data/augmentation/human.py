"""The captions that people wrote."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from immunize.config import frozen
from immunize.data.augmentation.material import Derived, Material, missing, with_captions


@frozen
class Human:
    """The other captions of the same image in the data set, the first `n` of those that the pairs leave out (None: all).

    Raises ConfigurationError where nothing was left out: `captions` of the section must be fewer than the data set has.
    """

    n: Annotated[int, Field(ge=1)] | None = None
    kind: Literal["human"] = "human"

    def __call__(self, given: Material) -> Derived:
        ids = given.pairs.image_ids
        found = [(i, row) for i, image_id in enumerate(ids) for row in list(given.rest.get(image_id, ()))[: self.n]]
        if not found:
            raise missing(self.kind, "the pairs have all captions of their images already; lower `augment: captions`")
        rows = [(i, caption, f"{ids[i]}~{self.kind} {caption_id}", caption_id) for i, (caption_id, caption) in found]
        return with_captions(given.pairs, rows)
