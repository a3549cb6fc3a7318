"""Typos: one edit away, the first letter kept, all four kinds, and nothing twice."""

from __future__ import annotations

import pytest

from immunize.attacks.text.typos import KEYBOARD, some_typos, typos
from immunize.data.scenes.lexicon import one_typo


@pytest.mark.parametrize("word", ["red", "ball", "checkered", "doughnut", "bottom"])
def test_one_edit_away_with_the_first_letter_kept(word: str) -> None:
    found = typos(word)
    assert word not in found and len(found) == len(set(found)) > 2 * len(word) - 4
    assert all(one_typo(word, typo) and typo[0] == word[0] for typo in found)


def test_by_hand() -> None:
    """Of `red`: swap, drop, neighbor, doubling; then the same one letter further."""
    assert typos("red") == ("rde", "rd", "rrd", "reed", "re", "ref", "redd")


def test_a_prefix_holds_some_of_each_kind() -> None:
    few = typos("ground")[:4]
    assert {len(typo) for typo in few} == {5, 6, 7} and sorted(few[0]) == sorted("ground")


def test_short_words_have_none() -> None:
    assert typos("at") == typos("") == ()
    assert len(set(KEYBOARD)) == 26 and all(key != neighbor for key, neighbor in KEYBOARD.items())


@pytest.mark.parametrize("start", [0, 3, 1000])
def test_some_typos_are_a_window_of_the_ring(start: int) -> None:
    ring = typos("red")
    assert some_typos("red", 3, start) == tuple((ring + ring)[start % 7 : start % 7 + 3])
    assert set(some_typos("red", 99, start)) == set(ring)
    assert some_typos("at", 3, start) == ()
