"""Cleaning a caption: what is changed, what is refused, and nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immunize.data.captions import clean
from immunize.data.record import Unusable


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog .", "A dog ."),
        ("  A\tdog\r\non\u00a0grass\n", "A dog on grass"),
        ("Caf\u00e9, 2 D\u00f6ner!", "Caf\u00e9, 2 D\u00f6ner!"),
        ("a family \U0001f468\u200d\U0001f469\u200d\U0001f467", "a family \U0001f468\u200d\U0001f469\u200d\U0001f467"),
    ],
)
def test_white_space_becomes_one_space_and_the_rest_stays(caption: str, expected: str) -> None:
    assert clean(caption, 100) == expected


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        (None, "not_a_string"),
        (3.5, "not_a_string"),
        (["A dog"], "not_a_string"),
        (b"A dog", "not_a_string"),
        ("", "empty_caption"),
        (" \n\t", "empty_caption"),
        ("A dog\x00", "control_characters"),
        ("A\x1cdog", "control_characters"),
        ("A d\u200bog", "control_characters"),
        ("A \u202egod", "control_characters"),
        ("A dog \ud800", "control_characters"),
        ("d" * 101, "too_long"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(caption: object, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        clean(caption, 100)
    assert caught.value.reason == reason


def test_the_limit_counts_characters_after_cleaning() -> None:
    assert clean("a" * 99 + "   b", 101) == "a" * 99 + " b"


@given(st.text(st.characters(codec=None), max_size=60))
def test_cleaning_twice_is_cleaning_once_and_only_white_space_changes(text: str) -> None:
    try:
        cleaned = clean(text, 60)
    except Unusable as error:
        assert error.reason in ("empty_caption", "control_characters")
        return
    assert clean(cleaned, 60) == cleaned
    assert cleaned.split() == text.split()
    assert "  " not in cleaned and cleaned == cleaned.strip()
    assert {unicodedata.category(c) for c in cleaned.replace("\u200d", "")}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    cleaned.encode("utf-8")


@given(
    st.one_of(
        st.none(), st.integers(), st.floats(), st.binary(), st.lists(st.text()), st.dictionaries(st.text(), st.text())
    )
)
def test_no_object_crashes_it(thing: object) -> None:
    with pytest.raises(Unusable, match="not_a_string"):
        clean(thing, 50)
