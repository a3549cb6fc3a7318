"""Each constraint by hand; distances against the naive recursion."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immunize.threats import Edits
from immunize.threats.constraints import levenshtein, same_part_of_speech, telling_words

SHORT = st.text("abc", max_size=5)


def naive(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(naive(a[1:], b) + 1, naive(a, b[1:]) + 1, naive(a[1:], b[1:]) + (a[0] != b[0]))


@given(SHORT, SHORT)
def test_levenshtein_against_the_recursion(a: str, b: str) -> None:
    assert levenshtein(a, b) == naive(a, b)


@given(SHORT, SHORT, SHORT)
def test_levenshtein_is_a_distance(a: str, b: str, c: str) -> None:
    assert levenshtein(a, b) == levenshtein(b, a) and (levenshtein(a, b) == 0) == (a == b)
    assert levenshtein(a, c) <= levenshtein(a, b) + levenshtein(b, c)


@pytest.mark.parametrize(
    ("word", "substitute", "same"),
    [
        ("dog", "cat", True),
        ("dogs", "cats", True),
        ("dogs", "cat", False),
        ("running", "jumping", True),
        ("running", "jumped", False),
        ("quickly", "slowly", True),
        ("quickly", "slow", False),
        ("red", "wooden", True),  # "red" is no past tense
        ("ring", "hoop", True),  # nor is "ring" a participle
        ("dress", "shirt", True),  # or "dress" a plural
        ("happiness", "ball", True),  # both may be nouns
        ("happiness", "joyful", False),
        ("two", "three", True),
        ("two", "dog", False),
        ("of", "dog", False),
    ],
)
def test_parts_of_speech_by_their_endings(word: str, substitute: str, same: bool) -> None:
    assert same_part_of_speech(word, substitute) is same is same_part_of_speech(substitute, word)


def test_the_words_that_tell_classes_apart() -> None:
    assert telling_words(("a photo of a Cat", "a photo of a polar bear")) == {"cat", "polar", "bear"}
    assert telling_words(()) == telling_words(("a photo of a cat",)) == frozenset()


@pytest.mark.parametrize(
    ("threat", "word", "substitute", "truth", "name"),
    [
        (Edits(), "dog", "The", None, "stop_words"),
        (Edits(), "dog", "cat", None, None),
        (Edits(), "two", "three", None, "keep_numbers"),
        (Edits(), "dog", "never", None, "keep_numbers"),
        (Edits(keep_numbers=False), "two", "three", None, None),
        (Edits(), "two", "couple", "{}", None),  # the scene vouches for it
        (Edits(same_meaning=False), "two", "couple", "{}", "keep_numbers"),
        (Edits(), "red", "blue", "{}", "same_meaning"),
        (Edits(part_of_speech=True), "dogs", "cat", None, "part_of_speech"),
        (Edits(part_of_speech=True, keep_numbers=False), "two", "dog", None, "part_of_speech"),
    ],
)
def test_a_refusal_has_the_name_of_its_constraint(
    threat: Edits, word: str, substitute: str, truth: str | None, name: str | None
) -> None:
    assert threat.refusal(word, substitute, truth) == name
    assert threat.allows(word, substitute, truth) is (name is None)


def test_numbers_and_negations_are_left_alone_where_nobody_knows() -> None:
    threat = Edits()
    assert threat.editable("Two") and not threat.editable("Two", known=False)
    assert not threat.editable("without", known=False) and threat.editable("dog", known=False)
    assert Edits(keep_numbers=False).editable("two", known=False)


@pytest.mark.parametrize(("share", "length", "budget"), [(None, 3, 5), (0.4, 10, 4), (0.4, 2, 1), (0.4, 100, 5)])
def test_a_budget_in_words_and_in_their_share(share: float | None, length: int, budget: int) -> None:
    assert Edits(words=5, share=share).budget(length) == budget
    assert Edits(words=0, share=share).budget(length) == 0


def test_with_a_lexicon_misspellings_alone_are_left(tmp_path: Path) -> None:
    """LEAF's constraint that no new English word appears."""
    (tmp_path / "words").write_text("bag\nBall\ndog\n")
    threat = Edits(lexicon=str(tmp_path / "words"))
    assert threat.refusal("bat", "Bag", None) == threat.refusal("bell", "ball", None) == "lexicon"
    assert threat.allows("ball", "balll", None)
