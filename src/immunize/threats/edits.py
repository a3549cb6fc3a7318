"""Where an attack on text may go: few words, each still readable, the caption still saying the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from functools import lru_cache
from typing import Annotated

from pydantic import Field, PlainSerializer

from immunize.config import frozen
from immunize.threats.constraints import (
    STOP_WORDS,
    Constraint,
    counts_or_denies,
    same_claim,
    same_part_of_speech,
    word_list,
)

Verdict = Callable[[str, str], str | None]  # (word, substitute) -> the constraint that is broken


@frozen
class Edits:
    """At most `words` words of a caption replaced, none of them a stop word, each by one that means the same.

    share: no more than this share of the caption's words either, though always one. characters: the most letters by
    which the caption may differ in all (Levenshtein distance; None: any number).
    same_meaning: where the scene is known, the substitute must claim exactly what the word claimed (a synonym, or a typo
    that is read as one of them), so the caption stays as true and as specific as it was. Without a scene, and for
    substitutes of other captions, meaning is held by `similarity`: the least cosine between the sentence embeddings of
    the caption and its edit under the masked language model (None: not asked).
    keep_numbers: where no scene vouches for the meaning, numbers and negations are neither replaced nor brought in.
    part_of_speech: word and substitute share one, as far as endings tell. distinct: the edit is no other caption of the
    same image, and brings in no word that tells the classes of the gallery apart. lexicon: a file of words, none of which
    may come in, so that misspellings are left.
    """

    words: Annotated[int, Field(ge=0)] = 1
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    characters: Annotated[int, Field(ge=0)] | None = None
    same_meaning: bool = True
    similarity: float | None = None
    keep_numbers: bool = True
    part_of_speech: bool = False
    distinct: bool = True
    lexicon: str | None = None
    stop_words: Annotated[frozenset[str], PlainSerializer(sorted)] = field(default=STOP_WORDS)

    def budget(self, length: int) -> int:
        """How many words of a caption of `length` words may be replaced."""
        return self.words if self.share is None else min(self.words, max(1, int(self.share * length)))

    def editable(self, word: str, known: bool = True) -> bool:
        """Whether this word may be replaced at all, in the caption of an image whose scene is known or is not."""
        old = word.lower()
        if old in self.stop_words or not any(letter.isalpha() for letter in word):
            return False
        vouched = not self.keep_numbers or (known and self.same_meaning)
        return vouched or not counts_or_denies(old)

    def refusal(self, word: str, substitute: str, truth: str | None) -> str | None:
        """The name of the first constraint that `substitute` for `word` breaks; None where it may stand."""
        return self.verdicts(truth is not None)(word.lower(), substitute.lower())

    def verdicts(self, known: bool) -> Verdict:
        """`refusal` of lower-case words where scenes are known or are not; what was asked before is remembered."""
        return _verdicts(self, known)

    def allows(self, word: str, substitute: str, truth: str | None) -> bool:
        """Whether `substitute` is another word, and may stand for `word` in a caption of an image with this scene."""
        return word.lower() != substitute.lower() and self.refusal(word, substitute, truth) is None

    def constraints(self, known: bool) -> Iterator[Constraint]:
        """What a substitute must hold, in the order in which it is asked; `known`: the scene is."""
        yield Constraint("stop_words", lambda old, new: new not in self.stop_words)
        if known and self.same_meaning:
            yield Constraint("same_meaning", same_claim)
        elif self.keep_numbers:
            yield Constraint("keep_numbers", lambda old, new: not counts_or_denies(old) and not counts_or_denies(new))
        if self.part_of_speech:
            yield Constraint("part_of_speech", same_part_of_speech)
        if self.lexicon is not None:
            known_words = word_list(self.lexicon)
            yield Constraint("lexicon", lambda old, new: new not in known_words)


@lru_cache(maxsize=64)
def _verdicts(threat: Edits, known: bool) -> Verdict:
    constraints = tuple(threat.constraints(known))

    @lru_cache(maxsize=2**17)  # the same few thousand pairs of words come in every batch
    def verdict(old: str, new: str) -> str | None:
        return next((constraint.name for constraint in constraints if not constraint.holds(old, new)), None)

    return verdict
