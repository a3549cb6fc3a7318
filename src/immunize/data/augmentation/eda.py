"""Easy data augmentation: a synonym, an insertion, a swap or a deletion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immunize.config import frozen
from immunize.data.augmentation.material import Derived, Material, reworded
from immunize.data.augmentation.synonyms import options


@frozen
class EDA:
    """t' = one of {replace, insert, swap, delete}(t), k = max(1, share * words) of them (Wei and Zou, arXiv:1901.11196 sec. 2).

    n: new captions from each. synonyms: `scenes`, `language` (the preset's masked model), or a file of lines
    `word synonym synonym ...`. Nothing looks at the meaning: a deleted or moved word may make a caption false.
    """

    n: Annotated[int, Field(ge=1)] = 4
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    synonyms: str = "scenes"
    kind: Literal["eda"] = "eda"

    def __call__(self, given: Material) -> Derived:
        table = options(given, self.synonyms, self.kind)

        def make(c: int, rng: np.random.Generator) -> str:
            words = given.pairs.captions[c].split()
            count = max(1, int(self.share * len(words)))
            which = int(rng.integers(4))
            if which < 2:
                return " ".join(substituted(words, table[c], count, rng, insert=which == 1))
            return " ".join(swapped(words, count, rng) if which == 2 else deleted(words, self.share, rng))

        return reworded(given, self.kind, self.n, make)


def substituted(
    words: Sequence[str], table: Sequence[Sequence[str]], count: int, rng: np.random.Generator, insert: bool = False
) -> list[str]:
    """`count` words that have a synonym replaced by one, or, with `insert`, a synonym of each put at a random place."""
    able = [i for i, others in enumerate(table) if others]
    new = list(words)
    for i in rng.permutation(able)[:count].tolist():
        other = table[i][int(rng.integers(len(table[i])))]
        if insert:
            new.insert(int(rng.integers(len(new) + 1)), other)
        else:
            new[i] = other
    return new


def swapped(words: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Two words at random places change places, `count` times."""
    new = list(words)
    for _ in range(count if len(new) > 1 else 0):
        i, j = rng.choice(len(new), 2, replace=False).tolist()
        new[i], new[j] = new[j], new[i]
    return new


def deleted(words: Sequence[str], share: float, rng: np.random.Generator) -> list[str]:
    """Each word is left out with probability `share`; one at random stays where none would."""
    new = [word for word, draw in zip(words, rng.random(len(words))) if draw >= share]
    return new or [words[int(rng.integers(len(words)))]]
