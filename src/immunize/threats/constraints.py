"""What a substitute must keep of the word it stands for, each rule with the name its refusals are counted under."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from immunize.data.scenes.lexicon import claims, readings

STOP_WORDS = frozenset(
    "a an the and or but if of at by for with about against between into through to from up down in out on off over "
    "under is are was were be been being am do does did has have had having it its this that these those he she they "
    "his her their them who which there here . , ! ? ; : ' \" 's n't no not nor very as while".split()
)
NUMBERS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen first second "
    "third fourth fifth both several many few some all half twice once single double pair couple trio".split()
)
NEGATIONS = frozenset("no not nor n't never none nobody nothing nowhere neither without cannot hardly barely".split())
SUFFIXES = {
    "ing": "participle", "ed": "past", "ly": "adverb", "s": "plural", "ness": "noun", "tion": "noun", "sion": "noun",
    "ment": "noun", "ity": "noun", "ful": "adjective", "less": "adjective", "ous": "adjective", "able": "adjective",
    "ible": "adjective", "ish": "adjective",
}  # fmt: skip


class Constraint(NamedTuple):
    """`holds(word, substitute)`, both in lower case."""

    name: str
    holds: Callable[[str, str], bool]


def counts_or_denies(word: str) -> bool:
    """Whether the word is a number or a negation."""
    return word in NUMBERS or word in NEGATIONS or word.isdigit()


def same_part_of_speech(word: str, substitute: str) -> bool:
    """Both words have a part of speech in common, as far as their endings tell."""
    return bool(_parts(word) & _parts(substitute))


@lru_cache(maxsize=8)
def word_list(path: str) -> frozenset[str]:
    """The words of a file, in lower case."""
    return frozenset(Path(path).read_text().lower().split())


@lru_cache(maxsize=65_536)
def _parts(word: str) -> frozenset[str]:
    """By closed classes and endings alone: what ends in nothing telling may be noun, adjective or verb."""
    if word in STOP_WORDS:
        return frozenset({"function"})
    if counts_or_denies(word):
        return frozenset({"number"})
    for ending in sorted(SUFFIXES, key=len, reverse=True):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and set(stem) & set("aeiouy") and not (ending == "s" and stem[-1] in "su"):
            return frozenset({SUFFIXES[ending]})
    return frozenset({"noun", "adjective", "verb"})


@lru_cache(maxsize=1_000_000)
def same_claim(word: str, substitute: str) -> bool:
    """Both words are readable in the world of scenes, and every reading of either claims the same."""
    meanings = [claims()[known] for one in (word, substitute) for known in readings(one)]
    return bool(readings(word)) and bool(readings(substitute)) and all(meaning == meanings[0] for meaning in meanings)


@lru_cache(maxsize=262_144)
def levenshtein(a: str, b: str) -> int:
    """The least number of letters inserted, deleted or replaced that makes `a` into `b`; a swap counts two."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != other))
    return row[-1]


@lru_cache(maxsize=8)
def telling_words(prompts: tuple[str, ...]) -> frozenset[str]:
    """The words, in lower case, that tell class prompts apart: in some of them and not in all."""
    bags = [frozenset(prompt.lower().split()) for prompt in prompts]
    return frozenset().union(*bags) - bags[0].intersection(*bags) if bags else frozenset()
