"""Scenes: drawn as promised, kept as JSON, at home in one split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from immunize.data.scenes.lexicon import COLORS, GROUNDS, SHAPES, SIZES
from immunize.data.scenes.world import PLACES, Scene, home, imagine


def scenes(count: int) -> list[Scene]:
    rng = np.random.default_rng(0)
    return [imagine(rng) for _ in range(count)]


def test_one_to_three_objects_at_different_places() -> None:
    drawn = scenes(3000)
    counts = Counter(len(scene.things) for scene in drawn)
    assert set(counts) == {1, 2, 3} and min(counts.values()) > 300
    assert all(len({(t.row, t.column) for t in scene.things}) == len(scene.things) for scene in drawn)


def test_every_value_comes_up_equally_often() -> None:
    drawn = scenes(3000)
    things = [thing for scene in drawn for thing in scene.things]
    seen: list[tuple[Counter, Iterable]] = [
        (Counter(thing.shape for thing in things), SHAPES),
        (Counter(thing.color for thing in things), COLORS),
        (Counter(thing.size for thing in things), SIZES),
        (Counter(scene.ground for scene in drawn), GROUNDS),
        (Counter((thing.row, thing.column) for thing in things), PLACES),
    ]
    for counts, values in seen:
        assert set(counts) == set(values)
        mean = sum(counts.values()) / len(counts)
        assert all(abs(count - mean) < 5 * mean**0.5 for count in counts.values())
    assert len(PLACES) == 9


def test_json_keeps_all_of_it() -> None:
    for scene in scenes(20):
        assert Scene.from_json(scene.to_json()) == scene


def test_the_objects_alone_say_which_split() -> None:
    drawn = scenes(4000)
    shares = Counter(map(home, drawn))
    assert abs(shares["validation"] / 4000 - 1 / 8) < 0.012 and abs(shares["test"] / 4000 - 1 / 8) < 0.012
    assert all(home(replace(scene, ground="plain")) == home(scene) for scene in drawn[:200])
