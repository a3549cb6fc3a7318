"""Where an attack on text may go: few words, each still readable, the caption still saying the same."""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache
from typing import Annotated

from pydantic import Field, PlainSerializer

from immunize.config import frozen
from immunize.data.scenes.lexicon import claims, readings

STOP_WORDS = frozenset(
    "a an the and or but if of at by for with about against between into through to from up down in out on off over "
    "under is are was were be been being am do does did has have had having it its this that these those he she they "
    "his her their them who which there here . , ! ? ; : ' \" 's n't no not nor very as while".split()
)


@frozen
class Edits:
    """At most `words` words of a caption replaced, none of them a stop word, each by one that means the same.

    same_meaning: where the scene is known, the substitute must claim exactly what the word claimed (a synonym, or a typo
    that is read as one of them), so the caption stays as true and as specific as it was. Without a scene, and for
    substitutes of other captions, meaning is held by `similarity`: the least cosine between the sentence embeddings of
    the caption and its edit under the masked language model (None: not asked).
    """

    words: Annotated[int, Field(ge=0)] = 1
    same_meaning: bool = True
    similarity: float | None = None
    stop_words: Annotated[frozenset[str], PlainSerializer(sorted)] = field(default=STOP_WORDS)

    def editable(self, word: str) -> bool:
        """Whether this word may be replaced at all; case does not matter."""
        return word.lower() not in self.stop_words and any(letter.isalpha() for letter in word)

    def allows(self, word: str, substitute: str, truth: str | None) -> bool:
        """Whether `substitute` may stand for `word` in a caption of an image with this scene (None: not known)."""
        old, new = word.lower(), substitute.lower()
        if new == old or new in self.stop_words:
            return False
        return truth is None or not self.same_meaning or _same_claim(old, new)


@lru_cache(maxsize=1_000_000)
def _same_claim(old: str, new: str) -> bool:
    """Both words are readable and every reading of either claims the same."""
    meanings = [claims()[known] for word in (old, new) for known in readings(word)]
    return bool(readings(old)) and bool(readings(new)) and all(meaning == meanings[0] for meaning in meanings)
