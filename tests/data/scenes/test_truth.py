"""Truth of captions: hand-made cases, and what can be said of every scene and caption."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from immunize.data.scenes.grammar import describe
from immunize.data.scenes.lexicon import COLORS, COLUMNS, COUNTS, GROUNDS, ROWS, SHAPES, SIZES, claims
from immunize.data.scenes.truth import is_true
from immunize.data.scenes.world import Scene, Thing, imagine

SEEDS = st.integers(0, 2**32)
VALUES = {"shape": SHAPES, "color": COLORS, "size": SIZES, "ground": GROUNDS, "count": COUNTS}
SCENE = Scene("striped", (Thing("circle", "red", "small", 0, 0), Thing("square", "blue", "large", 2, 2)))
LONE = Scene("plain", (Thing("star", "white", "large", 1, 1),))


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("a red ball", True),
        ("a Crimson disc at the upper left on a banded canvas", True),
        ("a red ball , which sits at the top left", True),
        ("a red ball , which sits at the bottom right", False),  # the place of the other
        ("a blue ball", False),  # both claims hold, of different objects
        ("a red ball and a blue box", True),
        ("a red ball and a red ball", False),  # there is one
        ("a ball and a box and a star", False),
        ("two shapes , a small circle", True),
        ("three shapes , a small circle", False),
        ("a red ball on a dotted ground", False),
        ("a rde ball", True),  # read as "red"
        ("a ring", False),
        ("a red bal", False),  # a ball or a bar
        ("a bar", False),  # a word of its own, whatever was meant
        ("a red frobnicator", False),  # not readable
        ("a red ball beside a blue box", True),
        ("a red ball besdie a blue box", True),  # a misspelt joint still joins
        ("a red ball , a blue box", True),
        ("a red ball near a blue box", False),  # without a joint it would be one object, red and blue
        ("a red ball at the top", True),  # a direction that no word names is not claimed
        ("a ball at the top left and a box", True),
        ("the image", True),
    ],
)
def test_by_hand(caption: str, true: bool) -> None:
    assert is_true(caption, SCENE) is true
    assert is_true(caption, SCENE.to_json()) is true


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("a star in the center", True),
        ("a star at the top center", False),
        ("a star at the left middle", False),
        ("a middle white star", True),
    ],
)
def test_center_fills_the_direction_that_no_word_names(caption: str, true: bool) -> None:
    assert is_true(caption, LONE) is true


@settings(deadline=None, max_examples=150)
@given(SEEDS)
def test_every_caption_is_true_of_its_scene(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = imagine(rng)
    captions = [describe(scene, rng) for _ in range(5)]
    assert [caption for caption in captions if not is_true(caption, scene)] == []


@settings(deadline=None, max_examples=100)
@given(SEEDS)
def test_another_value_of_any_word_makes_it_false(seed: int) -> None:
    """The place of an object is always said and no two share one, so nothing else could make the caption true again."""
    rng = np.random.default_rng(seed)
    scene = imagine(rng)
    words = describe(scene, rng).split()
    for position, word in enumerate(words):
        for facet, value in claims()[word].items() if word != "," else ():
            for other in VALUES.get(facet, {}).keys() - {value}:
                changed = " ".join((*words[:position], VALUES[facet][other][0], *words[position + 1 :]))
                assert not is_true(changed, scene), changed


@settings(deadline=None, max_examples=100)
@given(SEEDS)
def test_another_place_of_a_single_object_makes_it_false(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = imagine(rng)
    alone = Scene(scene.ground, scene.things[:1])
    words = describe(alone, rng).split()
    for position, word in enumerate(words):
        for facet, value in claims().get(word, {}).items():
            for other in {"row": ROWS, "column": COLUMNS}.get(facet, {}).keys() - {value}:
                wording = {"row": ROWS, "column": COLUMNS}[facet][other][0]
                changed = " ".join((*words[:position], wording, *words[position + 1 :]))
                assert not is_true(changed, alone), changed


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_a_synonym_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = imagine(rng)
    words = describe(scene, rng).split()
    for position, word in enumerate(words):
        for facet, value in claims().get(word, {}).items():
            for synonym in VALUES.get(facet, {}).get(value, ()):
                assert is_true(" ".join((*words[:position], synonym, *words[position + 1 :])), scene)
