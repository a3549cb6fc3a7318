"""What a text gives away without any encoder: words nobody used, rare ones, many pieces to a word."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor

LONGEST = 2000  # characters that are read: a context of 77 tokens is over before
NAMES = ("unknown", "rare", "rarest", "odd_characters", "letters", "words", "repeats")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How often each word stands in the clean captions, lower-cased and split at white space."""

    counts: Mapping[str, int]

    @classmethod
    def of(cls, captions: Sequence[str]) -> Vocabulary:
        words = Counter(chain.from_iterable(caption.lower().split() for caption in captions))
        return cls(dict(sorted(words.items())))

    def features(self, texts: Sequence[str]) -> dict[str, Float[Tensor, " n"]]:
        """Of each text, its first `LONGEST` characters.

        unknown: share of words that no clean caption has. rare, rarest: mean and largest surprise -log p(word), add-one.
        odd_characters: share neither letter, digit nor space. letters: mean letters a word. words: log of their number.
        repeats: share of words that came before.
        """
        total = sum(self.counts.values()) + len(self.counts) + 1
        rows = [self._row(text[:LONGEST], total) for text in texts]
        columns = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), len(NAMES)).unbind(dim=1)
        return dict(zip(NAMES, columns))

    def _row(self, text: str, total: int) -> tuple[float, ...]:
        words = text.lower().split()
        count = max(len(words), 1)
        surprise = [math.log(total / (1 + self.counts.get(word, 0))) for word in words] or [math.log(total)]
        odd = sum(not (c.isalnum() or c.isspace()) for c in text)
        return (
            sum(word not in self.counts for word in words) / count,
            sum(surprise) / len(surprise),
            max(surprise),
            odd / max(len(text), 1),
            sum(map(len, words)) / count,
            math.log1p(len(words)),
            1 - len(set(words)) / count,
        )
