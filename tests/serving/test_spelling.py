"""Spelling against a loop over the vocabulary, and by hand."""

from __future__ import annotations

import time
from pathlib import Path
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immunize.attacks.text.typos import typos
from immunize.data.scenes.lexicon import claims
from immunize.serving.spelling import Spelling, core, distance, load, vocabulary
from immunize.threats.constraints import levenshtein

WORDS = ("a", "red", "rod", "bed", "ball", "bar", "bare", "triangle", "rectangle", "the", "asterisk")
LETTERS = st.text("abdelr", max_size=7)


def slow(a: str, b: str) -> int:
    """Optimal string alignment as its definition has it."""
    if not a or not b:
        return len(a) + len(b)
    ways = [slow(a[:-1], b) + 1, slow(a, b[:-1]) + 1, slow(a[:-1], b[:-1]) + (a[-1] != b[-1])]
    if len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]:
        ways.append(slow(a[:-2], b[:-2]) + 1)
    return min(ways)


@given(st.text("abd", max_size=5), st.text("abd", max_size=5))
def test_the_distance_is_that_of_its_definition(a: str, b: str) -> None:
    assert distance(a, b) == slow(a, b) <= levenshtein(a, b)


@pytest.mark.parametrize("reach", [1, 2])
@given(word=LETTERS)
def test_candidates_are_those_of_a_loop_over_the_vocabulary(word: str, reach: int) -> None:
    near = {known: distance(word, known) for known in WORDS}
    least = min(near.values())
    allowed = min(reach, max(1, len(word) - 2)) if len(word) > 1 else 0
    expected = [known for known in WORDS if near[known] == least] if least <= allowed else []
    assert list(Spelling(WORDS, reach).candidates(word)) == expected


@given(st.text(ascii_lowercase + ".,'!\u200b ", max_size=12))
def test_a_word_is_its_core_and_what_is_around_it(word: str) -> None:
    before, middle, behind = core(word)
    assert before + middle + behind == word
    assert not middle or (middle[0].isalnum() and middle[-1].isalnum())


def test_by_hand() -> None:
    spelling = Spelling(WORDS)
    assert spelling.candidates("blal") == ("ball",) and spelling.candidates("traingel") == ("triangle",)
    assert spelling.candidates("rd") == ("red", "rod") and spelling.candidates("RED") == ("red",)
    assert spelling.candidates("zebra") == () and spelling.candidates("x") == () and spelling.candidates("zz") == ()
    assert spelling.known("Red") and spelling.known("12") and spelling.known(",") and not spelling.known("r3d")
    assert spelling.candidates("r3d") == ("red", "rod")


def test_every_typo_of_the_threat_is_read_as_one_of_its_meanings() -> None:
    """All the misspellings that BERT-Attack may use, of all the words of the scenes' world."""
    spelling = Spelling(tuple(claims()), 1)
    for word in claims():
        for typo in typos(word):
            assert word in spelling.candidates(typo) or typo in claims()


def test_the_vocabulary_is_commonest_first_and_read_back(tmp_path: Path) -> None:
    words = vocabulary(["A red ball, a box", "the red (box) .", "a zoo"])
    assert words == ("a", "box", "red", "ball", "the", "zoo")
    assert vocabulary(["a a b"], least=2) == ("a",)
    (tmp_path / "words.txt").write_text("\n".join(words))
    assert tuple(load(str(tmp_path / "words.txt"), 1).rank) == words
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / "nowhere.txt"), 1)


def test_long_words_cost_nothing() -> None:
    start = time.perf_counter()
    assert Spelling(WORDS).candidates("ab" * 50_000) == () and core("a" + "!" * 100_000 + "a")[1][0] == "a"
    assert time.perf_counter() - start < 1
