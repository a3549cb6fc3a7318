"""Words replaced by what a masked language model would put there."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immunize.config import frozen
from immunize.data.augmentation.eda import substituted
from immunize.data.augmentation.material import Derived, Material, missing, reworded


@frozen
class Masked:
    """t' = t with max(1, share * words) of its words drawn from the `k` likeliest at their places.

    As BERT-Attack's candidates (arXiv:2004.09984 sec. 3.2) they are proposed for the whole unmasked caption at once; what
    fits the sentence need not be true of the image. The model is the preset's, `models/<preset>/language`.
    """

    n: Annotated[int, Field(ge=1)] = 4
    share: Annotated[float, Field(gt=0, le=1)] = 0.15
    k: Annotated[int, Field(ge=1)] = 10
    kind: Literal["masked"] = "masked"

    def __call__(self, given: Material) -> Derived:
        if given.propose is None:
            raise missing(self.kind, "needs a masked language model; run the stage language first")
        table = given.propose(given.pairs.captions, self.k)

        def make(c: int, rng: np.random.Generator) -> str:
            words = given.pairs.captions[c].split()
            return " ".join(substituted(words, table[c], max(1, round(self.share * len(words))), rng))

        return reworded(given, self.kind, self.n, make)
