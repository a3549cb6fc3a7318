"""Pixels: the object has its color at its place, the shapes look different, the grounds too."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from immunize.data.scenes.draw import DISTANCE, PALETTE, draw
from immunize.data.scenes.lexicon import COLORS, GROUNDS, SHAPES
from immunize.data.scenes.world import PLACES, Scene, Thing

SIZE = 64
THING = Thing("square", "red", "large", 1, 1)


def image(scene: Scene, seed: int = 0) -> np.ndarray:
    return draw(scene, SIZE, np.random.default_rng(seed))


def changed(scene: Scene) -> np.ndarray:
    """Where the first object lies: the pixels that painting it moves."""
    bare = image(replace(scene, things=()))
    return np.abs(image(scene).astype(int) - bare).max(axis=2) > 25


def test_every_word_can_be_drawn() -> None:
    assert set(PALETTE) == set(COLORS) and set(DISTANCE) == set(SHAPES)


@pytest.mark.parametrize("place", PLACES)
def test_the_object_lies_in_its_cell(place: tuple[int, int]) -> None:
    rows, columns = np.nonzero(changed(Scene("plain", (replace(THING, row=place[0], column=place[1]),))))
    assert (int(rows.mean() * 3 / SIZE), int(columns.mean() * 3 / SIZE)) == place


@pytest.mark.parametrize("color", sorted(COLORS))
def test_its_middle_has_its_color(color: str) -> None:
    pixels = image(Scene("plain", (replace(THING, color=color),)))
    middle = pixels[SIZE // 2 - 2 : SIZE // 2 + 2, SIZE // 2 - 2 : SIZE // 2 + 2].reshape(-1, 3).mean(axis=0)
    nearest = min(PALETTE, key=lambda name: np.abs(np.array(PALETTE[name]) - middle).sum())
    assert nearest == color


def test_large_is_larger_than_small() -> None:
    large = changed(Scene("plain", (THING,))).sum()
    assert large > 2 * changed(Scene("plain", (replace(THING, size="small"),))).sum() > 0


def test_no_two_shapes_look_the_same() -> None:
    masks = {shape: changed(Scene("plain", (replace(THING, shape=shape),))) for shape in SHAPES}
    for one, other in combinations(masks, 2):
        both, either = (masks[one] & masks[other]).sum(), (masks[one] | masks[other]).sum()
        assert both / either < 0.9, (one, other)


def test_no_two_grounds_look_the_same() -> None:
    pictures = {ground: image(Scene(ground, ())).astype(float) for ground in GROUNDS}
    for one, other in combinations(pictures, 2):
        assert np.abs(pictures[one] - pictures[other]).mean() > 8, (one, other)


def test_the_same_seed_gives_the_same_bytes_and_another_one_jitters() -> None:
    scene = Scene("dotted", (THING,))
    assert (image(scene, 1) == image(scene, 1)).all() and (image(scene, 1) != image(scene, 2)).any()
    assert image(scene).dtype == np.uint8 and image(scene).shape == (SIZE, SIZE, 3)
