"""From a caption to a scene and to another wording: what was claimed stays claimed, the rest is drawn anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from immunize.data.scenes.depict import depict
from immunize.data.scenes.grammar import describe
from immunize.data.scenes.lexicon import GROUNDS
from immunize.data.scenes.retell import retell
from immunize.data.scenes.truth import claimed, is_true
from immunize.data.scenes.world import home, imagine

SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=150)
@given(SEEDS)
def test_the_caption_is_true_of_what_it_is_drawn_as(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = imagine(rng)
    caption = describe(scene, rng)
    shown = depict(caption, home(scene), rng)
    assert shown is not None and is_true(caption, shown) and home(shown) == home(scene)


def test_what_is_not_said_is_free() -> None:
    drawn = [depict("a small red ball at the top left", "train", np.random.default_rng(seed)) for seed in range(60)]
    assert {scene.ground for scene in drawn if scene} == set(GROUNDS)
    loose = [depict("two shapes , a red ball", "train", np.random.default_rng(seed)) for seed in range(60)]
    assert {len(scene.things) for scene in loose if scene} == {2}
    assert len({(thing.row, thing.column) for scene in loose if scene for thing in scene.things}) == 9


@pytest.mark.parametrize(
    "caption",
    ["a red frobnicator", "a red blue ball", "one shape , a ball and a box", "a ball and a box and a star and a bar",
     "a ball on a striped ground , a box on a dotted ground", "a ball at the top left and a box at the top left"],
)  # fmt: skip
def test_what_cannot_be_is_not_drawn(caption: str) -> None:
    assert depict(caption, "train", np.random.default_rng(0)) is None


@settings(deadline=None, max_examples=150)
@given(SEEDS)
def test_retelling_keeps_every_claim_and_adds_none(seed: int) -> None:
    """An oracle that does not retell: the claims of both, as sets."""
    rng = np.random.default_rng(seed)
    scene = imagine(rng)
    caption = describe(scene, rng)
    again = retell(caption, rng)
    assert again is not None and is_true(again, scene)
    facets = [
        sorted(sorted(clause.items()) for clause in claimed(text) or [] if not {"ground", "count"} & clause.keys())
        for text in (caption, again)
    ]
    whole = [
        {item for clause in claimed(text) or [] for item in clause.items() if item[0] in ("ground", "count")}
        for text in (caption, again)
    ]
    assert whole[0] == whole[1]
    if not whole[0]:
        assert facets[0] == facets[1]


def test_retelling_changes_the_words() -> None:
    told = {retell("a red ball at the top left", np.random.default_rng(seed)) for seed in range(30)}
    assert len(told) > 10 and all(caption and is_read(caption) for caption in told)
    assert retell("a red frobnicator", np.random.default_rng(0)) is None
    assert retell("the image", np.random.default_rng(0)) is None


def is_read(caption: str) -> bool:
    return {"shape": "circle", "color": "red", "row": "0", "column": "0"}.items() <= {
        item for clause in claimed(caption) or [] for item in clause.items()
    }
