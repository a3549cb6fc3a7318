"""The same claims in other words."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immunize.config import frozen
from immunize.data.augmentation.eda import substituted
from immunize.data.augmentation.material import Derived, Material, reworded
from immunize.data.augmentation.synonyms import options
from immunize.data.scenes.retell import retell


@frozen
class Paraphrase:
    """t' says what t says: of a scene the grammar says the claims again, elsewhere synonyms stand for `share` of the words.

    It knows the caption alone, not the image (intra-modal): no claim is added, none is lost. A caption of a scene that
    the grammar cannot read has no paraphrase.
    """

    n: Annotated[int, Field(ge=1)] = 4
    share: Annotated[float, Field(gt=0, le=1)] = 0.4
    synonyms: str = "language"
    kind: Literal["paraphrase"] = "paraphrase"

    def __call__(self, given: Material) -> Derived:
        pairs, owner = given.pairs, given.pairs.owner.tolist()
        table = [] if all(pairs.truth) else options(given, self.synonyms, self.kind)

        def make(c: int, rng: np.random.Generator) -> str | None:
            if pairs.truth[owner[c]] is not None:
                return retell(pairs.captions[c], rng)
            words = pairs.captions[c].split()
            return " ".join(substituted(words, table[c], max(1, round(self.share * len(words))), rng))

        return reworded(given, self.kind, self.n, make)
