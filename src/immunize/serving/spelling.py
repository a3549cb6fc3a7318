"""Words that are not in a vocabulary -> the words of it that were meant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path


def vocabulary(captions: Iterable[str], least: int = 1) -> tuple[str, ...]:
    """The words of the captions that come at least so often, in lower case, commonest first."""
    counts = Counter(core(word)[1].lower() for caption in captions for word in caption.split())
    del counts[""]
    return tuple(word for word, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if count >= least)


@lru_cache(maxsize=8)
def load(path: str, reach: int) -> Spelling:
    """The spelling of the words in a file, one a line, commonest first; raises FileNotFoundError."""
    return Spelling(tuple(Path(path).read_text(encoding="utf-8").split()), reach)


def core(word: str) -> tuple[str, str, str]:
    """What stands before the first letter or digit, the word, and what stands behind it: `(dog),` is `(`, `dog`, `),`."""
    first = next((i for i, letter in enumerate(word) if letter.isalnum()), len(word))
    last = next((i for i in range(len(word), first, -1) if word[i - 1].isalnum()), first)
    return word[:first], word[first:last], word[last:]


class Spelling:
    """`candidates(word)`: the words of the vocabulary at the least distance, at most `reach` (Damerau-Levenshtein).

    Words are found by what is left of them without some letters (Garbe's symmetric deletes), so that a look-up costs the
    word's length to the power of `reach`, whatever the vocabulary.
    """

    def __init__(self, words: Sequence[str], reach: int = 2) -> None:
        self.reach = reach
        self.rank = {word: i for i, word in enumerate(dict.fromkeys(words))}
        self._longest = max(map(len, self.rank), default=0)
        self._left: dict[str, list[str]] = defaultdict(list)
        for word in self.rank:
            for rest in _without(word, reach):
                self._left[rest].append(word)

    def known(self, word: str) -> bool:
        """Whether there is nothing to correct: in the vocabulary, or no word (a number, a sign)."""
        return word.lower() in self.rank or not any(letter.isalpha() for letter in word)

    def candidates(self, word: str) -> tuple[str, ...]:
        """What may have been meant, commonest first; () where nothing is near. A known word is its own only candidate.

        A word of two or three letters is one letter from what was meant, no more; of one letter nothing is guessed.
        """
        word = word.lower()
        if word in self.rank:
            return (word,)
        if not 1 < len(word) <= self._longest + self.reach:
            return ()
        near: dict[int, set[str]] = defaultdict(set)
        for rest in _without(word, self.reach):
            for other in self._left.get(rest, ()):
                near[distance(word, other)].add(other)
        least = min(near, default=self.reach + 1)
        if least > min(self.reach, max(1, len(word) - 2)):
            return ()
        return tuple(sorted(near[least], key=self.rank.__getitem__))


@lru_cache(maxsize=262_144)
def distance(a: str, b: str) -> int:
    """Letters inserted, dropped, replaced or swapped with their neighbor to make `b` of `a` (optimal string alignment)."""
    above, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        above, before, row = row, above, [i] + [0] * len(b)
        for j, other in enumerate(b, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                row[j] = min(row[j], before[j - 2] + 1)
    return row[-1]


def _without(word: str, count: int) -> Iterator[str]:
    """The word, and what is left of it without up to `count` of its letters."""
    seen = layer = {word}
    for _ in range(count):
        layer = {rest[:i] + rest[i + 1 :] for rest in layer for i in range(len(rest))}
        seen = seen | layer
    return iter(seen)
