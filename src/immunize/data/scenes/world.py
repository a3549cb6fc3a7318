"""What a scene is, and how one is drawn from a seed."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect
from dataclasses import asdict, dataclass

import numpy as np

from immunize.data.scenes.lexicon import COLORS, GROUNDS, SHAPES, SIZES

MORE = (0.35, 0.85)  # P(one object), P(at most two)
PLACES = tuple((row, column) for row in range(3) for column in range(3))


@dataclass(frozen=True, slots=True)
class Thing:
    """One object; `row` and `column` are its place in a 3 x 3 grid, (0, 0) the top left."""

    shape: str
    color: str
    size: str
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Scene:
    """One to three objects at different places on a textured ground."""

    ground: str
    things: tuple[Thing, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Scene:
        data = json.loads(text)
        return Scene(ground=data["ground"], things=tuple(Thing(**thing) for thing in data["things"]))


def imagine(rng: np.random.Generator) -> Scene:
    """A scene drawn uniformly but for the number of objects, mostly one or two; no two at one place."""
    count = 1 + bisect(MORE, rng.random())
    places = rng.permutation(len(PLACES))[:count]
    return Scene(
        ground=_one(rng, GROUNDS),
        things=tuple(
            Thing(_one(rng, SHAPES), _one(rng, COLORS), _one(rng, SIZES), *PLACES[place]) for place in sorted(places)
        ),
    )


def home(scene: Scene) -> str:
    """The split that may hold a scene with these objects: 1 in 8 for validation, 1 in 8 for test, by a hash of them."""
    digest = hashlib.blake2b(json.dumps([asdict(thing) for thing in scene.things]).encode(), digest_size=1).digest()
    return {0: "validation", 1: "test"}.get(digest[0] % 8, "train")


def _one(rng: np.random.Generator, names) -> str:
    return tuple(names)[rng.integers(len(names))]
