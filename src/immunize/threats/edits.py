"""Where an attack on text may go: few words, each still readable, the caption still true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from immunize.config import frozen
from immunize.data.scenes.lexicon import claims, readings
from immunize.data.scenes.truth import is_true

STOP_WORDS = frozenset(
    "a an the and or but if of at by for with about against between into through to from up down in out on off over "
    "under is are was were be been being am do does did has have had having it its this that these those he she they "
    "his her their them who which there here . , ! ? ; : ' \" 's n't no not nor very as while".split()
)


@frozen
class Edits:
    """At most `words` words of a caption replaced, none of them a stop word, and every edit allowed by the constraints.

    still_true: where the scene is known, an edit that makes the caption false (or unreadable) is refused.
    known: an edit by a typo may not make another known word (LEAF, arXiv:2506.03355): "rid" for "red", not "bed".
    similarity: least cosine between the sentence embeddings of a caption and its edit (None: not asked); the embedding is
    the clean model's own text tower unless the attack is given another.
    """

    words: Annotated[int, Field(ge=0)] = 1
    still_true: bool = True
    similarity: float | None = None
    stop_words: frozenset[str] = field(default=STOP_WORDS)

    def editable(self, word: str) -> bool:
        """Whether this word may be replaced at all; case does not matter."""
        return word.lower() not in self.stop_words and any(letter.isalpha() for letter in word)

    def allows(self, words: Sequence[str], position: int, substitute: str, truth: str | None) -> bool:
        """Whether the caption with `substitute` at `position` is inside the threat, as far as words can tell."""
        old = words[position]
        if substitute.lower() == old.lower() or substitute.lower() in self.stop_words:
            return False
        if truth is None or not self.still_true or _same_claim(old.lower(), substitute.lower()):
            return True
        return is_true(" ".join((*words[:position], substitute, *words[position + 1 :])), truth)


@lru_cache(maxsize=1_000_000)
def _same_claim(old: str, new: str) -> bool:
    """Both words are readable and every reading of either claims the same: the caption stays as true as it was."""
    meanings = [claims()[known] for word in (old, new) for known in readings(word)]
    return bool(readings(old)) and bool(readings(new)) and all(meaning == meanings[0] for meaning in meanings)
