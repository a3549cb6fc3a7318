"""The words of the world: as many as the issue asks for, each with one meaning, typos readable."""

from __future__ import annotations

from itertools import chain

import pytest

from immunize.attacks.text.typos import typos
from immunize.data.scenes.lexicon import (
    BREAK,
    COLORS,
    COLUMNS,
    COUNTS,
    GROUNDS,
    ROWS,
    SHAPES,
    SIZES,
    claims,
    one_typo,
    readings,
)

FACETS = [SHAPES, COLORS, SIZES, GROUNDS, ROWS, COLUMNS, COUNTS]


def test_there_is_as_much_of_everything_as_promised() -> None:
    assert len(SHAPES) >= 6 and len(COLORS) >= 8 and len(SIZES) >= 2 and len(GROUNDS) >= 4 and set(COUNTS) == set("123")
    assert all(len(wordings) >= 2 for facet in FACETS for wordings in facet.values())


def test_no_word_has_two_meanings() -> None:
    words = list(chain.from_iterable(chain.from_iterable(facet.values()) for facet in FACETS))
    assert len(words) == len(set(words))
    assert claims()["crimson"] == {"color": "red"} and claims()["photo"] == {} and claims()["beside"] == BREAK


@pytest.mark.parametrize(
    ("a", "b", "near"),
    [
        ("red", "red", True), ("red", "rid", True), ("red", "rd", True), ("red", "reed", True), ("red", "erd", True),
        ("star", "satr", True), ("red", "de", False), ("red", "der", False), ("ring", "rang", True),
        ("ring", "wrong", False), ("abc", "cab", False), ("", "a", True), ("", "ab", False), ("aab", "aba", True),
    ],
)  # fmt: skip
def test_one_typo_is_damerau_levenshtein_one(a: str, b: str, near: bool) -> None:
    assert one_typo(a, b) is near and one_typo(b, a) is near


def test_one_typo_against_every_edit_of_a_word() -> None:
    """All words one edit away from `bar` over a small alphabet, made by brute force."""
    word, letters = "bar", "abrx"
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    near = {a + b[1:] for a, b in cuts if b} | {a + c + b for a, b in cuts for c in letters}
    near |= {a + c + b[1:] for a, b in cuts if b for c in letters}
    near |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    others = {a + b for a in near for b in ("", "xx", "rb")} | {"xbarx", "rab", "arb"}
    assert {other for other in near | others if one_typo(word, other)} == near


def test_a_typo_is_read_as_its_word() -> None:
    """Of the typos that the attack makes, at least nine in ten can be read, and all may be read as their own word."""
    words = [word for word in chain.from_iterable(COLORS.values()) if len(word) > 3]
    made = [(word, typo) for word in words for typo in typos(word) if typo not in claims()]
    assert all(word in readings(typo) for word, typo in made)
    clear = [all(claims()[known] == claims()[word] for known in readings(typo)) for word, typo in made]
    assert sum(clear) / len(clear) > 0.9
    assert readings("red") == ("red",) and readings("zzzzz") == ()
