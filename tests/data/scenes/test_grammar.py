"""Captions: many templates, all of them used, and wordings by Zipf's law."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from immunize.data.scenes import lexicon
from immunize.data.scenes.grammar import OBJECTS, SENTENCES, describe, zipf
from immunize.data.scenes.lexicon import claims
from immunize.data.scenes.world import imagine


@pytest.fixture(scope="module")
def captions() -> list[str]:
    rng = np.random.default_rng(0)
    return [describe(imagine(rng), rng) for _ in range(4000)]


def test_there_are_at_least_twelve_sentence_templates() -> None:
    assert len(set(SENTENCES)) >= 12 and len(set(OBJECTS)) >= 2


def test_every_word_of_the_grammar_is_in_the_lexicon_and_used(captions: list[str]) -> None:
    used = {word for caption in captions for word in caption.split()}
    assert used - {","} <= claims().keys()
    facets = (lexicon.SHAPES, lexicon.COLORS, lexicon.SIZES, lexicon.GROUNDS, lexicon.COUNTS, lexicon.ROWS)
    spoken = {word for facet in facets for wordings in facet.values() for word in wordings}
    assert spoken <= used


def test_wordings_follow_zipf(captions: list[str]) -> None:
    """p(i) proportional to 1 / i^1.3, on 20,000 draws; common words are at least five times the rarest ones."""
    rng = np.random.default_rng(1)
    drawn = Counter(zipf(rng, "abcde") for _ in range(20_000))
    weights = np.arange(1, 6) ** -1.3
    found = np.array([drawn[letter] for letter in "abcde"]) / 20_000
    assert np.abs(found - weights / weights.sum()).max() < 0.015
    words = Counter(word for caption in captions for word in caption.split())
    for common, *_, rare in lexicon.SHAPES.values():
        assert words[common] > 2 * words[rare] > 0


def test_captions_of_one_scene_differ() -> None:
    rng = np.random.default_rng(2)
    distinct = [len({describe(scene, rng) for _ in range(5)}) for scene in (imagine(rng) for _ in range(100))]
    assert sum(distinct) > 480
