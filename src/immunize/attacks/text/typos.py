"""The typos of a word that a person still reads: a letter swapped, dropped, doubled or mistaken for its neighbor."""

from __future__ import annotations

from functools import lru_cache

KEYBOARD = {
    "a": "s", "b": "v", "c": "x", "d": "f", "e": "r", "f": "g", "g": "h", "h": "j", "i": "o", "j": "k", "k": "l",
    "l": "k", "m": "n", "n": "m", "o": "p", "p": "o", "q": "w", "r": "t", "s": "d", "t": "y", "u": "i", "v": "b",
    "w": "e", "x": "c", "y": "u", "z": "x",
}  # fmt: skip


def some_typos(word: str, count: int, start: int) -> tuple[str, ...]:
    """`count` of the word's typos, a window of the ring of all of them that begins at `start`."""
    ring = typos(word)
    return tuple(ring[(start + i) % len(ring)] for i in range(min(count, len(ring))))


@lru_cache(maxsize=65_536)
def typos(word: str) -> tuple[str, ...]:
    """Every word one edit away (Damerau-Levenshtein) that keeps the first letter: swaps, drops, neighbors, doublings.

    The four kinds alternate, so that a prefix of the tuple holds some of each; words under three letters have none.
    """
    if len(word) < 3:
        return ()
    inner = range(1, len(word))
    kinds = (
        [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1] if word[i] != word[i + 1]],
        [word[:i] + word[i + 1 :] for i in inner],
        [word[:i] + KEYBOARD.get(word[i], word[i]) + word[i + 1 :] for i in inner],
        [word[:i] + word[i] + word[i:] for i in inner],
    )
    longest = max(map(len, kinds))
    mixed = [kind[k] for k in range(longest) for kind in kinds if k < len(kind)]
    return tuple(dict.fromkeys(typo for typo in mixed if typo != word))
