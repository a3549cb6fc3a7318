"""Edits: stop words stay, another meaning is refused, and a configuration is the same text in every process."""

from __future__ import annotations

import pytest

from immunize.attacks.text.typos import typos
from immunize.config import dump, parse
from immunize.data.scenes.lexicon import claims
from immunize.data.scenes.truth import is_true
from immunize.data.scenes.world import Scene, Thing
from immunize.threats import Edits

SCENE = Scene("plain", (Thing("circle", "red", "small", 0, 0), Thing("square", "blue", "large", 2, 2)))
CAPTION = "a red ball at the top left beside a blue box at the bottom right"
WORDS = CAPTION.split()


@pytest.mark.parametrize(
    ("word", "editable"), [("red", True), ("The", False), ("of", False), (",", False), ("--", False), ("2nd", True)]
)
def test_what_may_be_replaced_at_all(word: str, editable: bool) -> None:
    assert Edits().editable(word) is editable


@pytest.mark.parametrize(
    ("word", "substitute", "allowed"),
    [
        ("red", "crimson", True),
        ("red", "Crimson", True),
        ("red", "blue", False),
        ("red", "rde", True),
        ("red", "xqz", False),  # nobody could read it
        ("red", "picture", False),  # true, but says less
        ("ball", "disc", True),
        ("ball", "bal", False),  # a ball or a bar
        ("ball", "box", False),
        ("top", "upper", True),
        ("top", "bottom", False),
        ("left", "lfet", True),
        ("left", "central", False),
        ("beside", "next", True),  # joins as well
        ("beside", "besdie", True),
        ("beside", "near", False),  # would make one object of two
        ("red", "RED", False),  # no edit
        ("red", "the", False),  # no stop word may come in
    ],
)
def test_what_is_allowed_where_the_scene_is_known(word: str, substitute: str, allowed: bool) -> None:
    assert Edits().allows(word, substitute, SCENE.to_json()) is allowed


def test_whatever_is_allowed_is_true() -> None:
    """What is decided from the two words alone agrees with the whole caption read anew."""
    edits = Edits()
    for position, word in ((WORDS.index(word), word) for word in ("red", "ball", "top", "beside")):
        for substitute in (*claims(), *typos(word)):
            if edits.allows(word, substitute, SCENE.to_json()):
                assert is_true(" ".join((*WORDS[:position], substitute, *WORDS[position + 1 :])), SCENE), substitute


def test_without_a_scene_or_a_wish_for_meaning_any_word_goes() -> None:
    assert Edits().allows("red", "blue", None)
    assert Edits(same_meaning=False).allows("red", "blue", SCENE.to_json())
    assert not Edits(same_meaning=False).allows("red", "the", SCENE.to_json())


def test_a_configuration_is_dumped_in_one_order() -> None:
    """A set in the order of its hashes would give a run another folder, and a result other bytes, in every process."""
    words = dump(Edits())["stop_words"]
    assert words == sorted(words) and len(words) > 50
    assert parse(dump(Edits(words=2)), Edits, "here") == Edits(words=2)
