"""Captions tokenized word by word: an edit of one word then costs a look-up, not a tokenizer's pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

REMEMBERED = 2**17  # words
Tokenize = Callable[[Sequence[str]], Int[Tensor, "c l"]]


class Words:
    """The ids of words, each of them tokenized alone and once: those of number n are `count[n]` from `first[n]` on."""

    def __init__(self) -> None:
        self.pieces: dict[str, tuple[int, ...]] = {}
        self.number: dict[str, int] = {}
        self.ids, self.first, self.count = (np.empty(0, dtype=np.int64) for _ in range(3))

    def read(self, words: Iterable[str], tokenize: Tokenize) -> None:
        """Tokenize those of the words that are new."""
        new = sorted(set(words).difference(self.pieces))
        if new:
            rows = tokenize(new)
            ends = rows.argmax(dim=1).tolist()
            pieces = [tuple(row[1:end]) for row, end in zip(rows.tolist(), ends, strict=True)]
            self.number.update(zip(new, range(len(self.number), len(self.number) + len(new))))
            self.pieces.update(zip(new, pieces))
            count = np.array([len(ids) for ids in pieces])
            self.first = np.concatenate([self.first, len(self.ids) + count.cumsum() - count])
            self.count = np.concatenate([self.count, count])
            self.ids = np.concatenate([self.ids, np.fromiter(chain.from_iterable(pieces), np.int64)])


_words: WeakKeyDictionary[Any, Words] = WeakKeyDictionary()  # batch after batch has the same ones


def words_of(tokenize: Tokenize) -> Words:
    """What is known of the words of a model, or a function, that tokenizes; forgotten with it, or when it is too much."""
    owner = getattr(tokenize, "__self__", tokenize)
    try:
        if owner not in _words or len(_words[owner].number) > REMEMBERED:
            _words[owner] = Words()
        return _words[owner]
    except TypeError:  # it has no hash, or no room for a weak reference
        return Words()


class WordTokens:
    """`tokenize` of a model for captions that share most of their words, each distinct word being tokenized once.

    It is tried on `captions` first: where the tokenizer does not split words one by one, or ends a text by another id
    than its largest, every caption goes through it whole. alone: False where it is known that the words around decide.
    """

    def __init__(self, tokenize: Tokenize, captions: Sequence[str], alone: bool = True) -> None:
        self.tokenize = tokenize
        self._words = words_of(tokenize)
        tokens = tokenize(captions)
        self.device = tokens.device
        ends = tokens.argmax(dim=1)  # the end of text is the largest id
        self._start, self._end = (int(tokens[0, 0]), int(tokens.max())) if len(tokens) else (0, 0)
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
        known, words = self._words, self._numbers(list(chain.from_iterable(sentences)))
        count = known.count[words]
        met = np.concatenate([[0], count.cumsum()])  # ids of all words before each
        last = np.cumsum([len(sentence) for sentence in sentences])
        lengths = np.diff(met[last], prepend=0)
        ids = known.ids[np.repeat(known.first[words] - met[:-1], count) + np.arange(met[-1])]
        found = np.zeros((len(lengths), lengths.max() + 2), dtype=np.int64)
        found[:, 0] = self._start
        found[:, 1:][np.arange(found.shape[1] - 1) < lengths[:, None]] = ids
        found[np.arange(len(lengths)), lengths + 1] = self._end
        tokens = torch.from_numpy(found)
        if tokens.shape[1] > self._seen and tokens.shape[1] > self.context:
            tokens = tokens[:, : self.context].contiguous()
            tokens[torch.from_numpy(lengths + 2 > self.context), -1] = self._end
        return tokens.to(self.device)

    def _numbers(self, words: Sequence[str]) -> NDArray[np.int64]:
        try:
            return np.fromiter(map(self._words.number.__getitem__, words), np.int64, len(words))
        except KeyError:  # seldom, and looking first takes as long as the rest
            self.read(words)
            return self._numbers(words)

    def read(self, words: Iterable[str]) -> None:
        """Tokenize those of the words that are new."""
        self._words.read(words, self.tokenize)

    def pieces(self, word: str) -> tuple[int, ...]:
        """The ids of a word."""
        if word not in self._words.pieces:
            self.read([word])
        return self._words.pieces[word]

    @property
    def context(self) -> int:
        """The most tokens that a caption may have, its start and end included; asked of the tokenizer once."""
        if self._context is None:
            self._context = int(self.tokenize(["a " * 4096]).shape[1])
        return self._context
