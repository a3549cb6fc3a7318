"""Captions tokenized word by word: an edit of one word then costs a look-up, not a tokenizer's pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

START, END = 0, 1  # rows of the words that every caption has
Tokenize = Callable[[Sequence[str]], Int[Tensor, "c l"]]


class WordTokens:
    """`tokenize` of a model for captions that share most of their words, each distinct word being tokenized once.

    It is tried on `captions` first: where the tokenizer does not split words one by one, or ends a text by another id
    than its largest, every caption goes through it whole. alone: False where it is known that the words around decide.
    """

    def __init__(self, tokenize: Tokenize, captions: Sequence[str], alone: bool = True) -> None:
        self.tokenize = tokenize
        self._pieces: dict[str, tuple[int, ...]] = {}
        tokens = tokenize(captions)
        self.device = tokens.device
        ends = tokens.argmax(dim=1)  # the end of text is the largest id
        self._end = int(tokens.max()) if len(tokens) else 0
        # all tokens met so far, one after the other, and where each word's are; START and END stand for two words
        self._flat = np.array([int(tokens[0, 0]) if len(tokens) else 0, self._end])
        self._first, self._count = np.array([0, 1]), np.array([1, 1])
        self._row: dict[str, int] = {}
        self._seen = tokens.shape[1]  # a caption of so many tokens is not cut
        self._context: int | None = None
        self.by_word = alone and len(tokens) > 0 and bool((tokens.gather(1, ends[:, None]) == self._end).all())
        if self.by_word:
            mine = self(captions)
            self.by_word = mine.shape == tokens.shape and torch.equal(mine, tokens)

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "c l"]:
        if not self.by_word or not captions:
            return self.tokenize(captions)
        sentences = [caption.split() for caption in captions]
        self.read(set(chain.from_iterable(sentences)))
        row = self._row.__getitem__
        words = np.array([w for words in sentences for w in (START, *map(row, words), END)])
        count = self._count[words]
        met = count.cumsum()  # tokens of this word and of all before it
        last = np.cumsum([len(words) + 2 for words in sentences]) - 1
        lengths = np.diff(met[last], prepend=0)
        flat = self._flat[np.repeat(self._first[words] + count - met, count) + np.arange(met[-1])]
        found = np.zeros((len(lengths), lengths.max()), dtype=np.int64)
        found[np.arange(found.shape[1]) < lengths[:, None]] = flat
        tokens = torch.from_numpy(found)
        if tokens.shape[1] > self._seen and tokens.shape[1] > self.context:
            tokens = tokens[:, : self.context].contiguous()
            tokens[torch.from_numpy(lengths > self.context), -1] = self._end
        return tokens.to(self.device)

    def read(self, words: set[str]) -> None:
        """Tokenize those of the words that are new."""
        new = sorted(words - self._pieces.keys())
        if new:
            rows = self.tokenize(new)
            ends = rows.argmax(dim=1).tolist()
            pieces = [tuple(row[1:end]) for row, end in zip(rows.tolist(), ends, strict=True)]
            self._row.update(zip(new, range(len(self._row) + 2, len(self._row) + 2 + len(new))))
            self._pieces.update(zip(new, pieces))
            count = np.array([len(ids) for ids in pieces])
            self._first = np.concatenate([self._first, len(self._flat) + count.cumsum() - count])
            self._count = np.concatenate([self._count, count])
            self._flat = np.concatenate([self._flat, np.fromiter(chain.from_iterable(pieces), np.int64)])

    def pieces(self, word: str) -> tuple[int, ...]:
        """The ids of a word."""
        if word not in self._pieces:
            self.read({word})
        return self._pieces[word]

    @property
    def context(self) -> int:
        """The most tokens that a caption may have, its start and end included; asked of the tokenizer once."""
        if self._context is None:
            self._context = int(self.tokenize(["a " * 4096]).shape[1])
        return self._context
