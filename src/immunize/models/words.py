"""Captions tokenized word by word: an edit of one word then costs a look-up, not a tokenizer's pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from jaxtyping import Int
from torch import Tensor

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
        self._start = int(tokens[0, 0]) if len(tokens) else 0
        self._end = int(tokens.max()) if len(tokens) else 0
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
        rows = [[*chain.from_iterable(map(self._pieces.__getitem__, words))] for words in sentences]
        if max(map(len, rows)) + 2 > self._seen:
            rows = [row[: self.context - 2] for row in rows]
        lengths = torch.tensor([len(row) + 2 for row in rows])
        flat = torch.tensor([i for row in rows for i in (self._start, *row, self._end)])
        tokens = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        tokens[torch.arange(tokens.shape[1]) < lengths[:, None]] = flat
        return tokens.to(self.device)

    def read(self, words: set[str]) -> None:
        """Tokenize those of the words that are new."""
        new = sorted(words - self._pieces.keys())
        if new:
            rows = self.tokenize(new)
            ends = rows.argmax(dim=1).tolist()
            self._pieces.update(
                (word, tuple(row[1:end])) for word, row, end in zip(new, rows.tolist(), ends, strict=True)
            )

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
