"""From a caption back to a scene: what it claims as it says, everything else drawn anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from immunize.data.scenes.lexicon import COLORS, GROUNDS, SHAPES, SIZES
from immunize.data.scenes.truth import claimed, of_objects
from immunize.data.scenes.world import PLACES, Scene, Thing, home

TRIES = 64  # what is free is drawn anew until the scene belongs to the split; one in four belongs to another
MOST = 3

Claim = Mapping[str, str]


def depict(caption: str, split: str, rng: np.random.Generator) -> Scene | None:
    """A scene of `split` that the caption is true of, drawn uniformly in what it leaves open.

    None where the caption cannot be read, contradicts itself, or is of another split only.
    """
    clauses = claimed(caption)
    if clauses is None:
        return None
    ground, count = _agreed(clauses, "ground"), _agreed(clauses, "count")
    objects = of_objects(clauses)
    wanted = int(count[0]) if count else max(1, len(objects))
    if len(ground) > 1 or len(count) > 1 or not len(objects) <= wanted <= MOST:
        return None
    objects = objects + [{}] * (wanted - len(objects))
    for _ in range(TRIES):
        things = _placed(objects, rng)
        scene = None if things is None else Scene(ground[0] if ground else _one(rng, GROUNDS), things)
        if scene is not None and home(scene) == split:
            return scene
    return None


def _agreed(clauses: Sequence[Claim], facet: str) -> list[str]:
    """The values that are claimed: one, none, or several that contradict each other."""
    return sorted({clause[facet] for clause in clauses if facet in clause})


def _placed(objects: Sequence[Claim], rng: np.random.Generator) -> tuple[Thing, ...] | None:
    """One thing for each claim, at different places; None where the claims, so drawn, want one place twice."""
    free = set(PLACES)
    things = []
    for claim in sorted(objects, key=lambda claim: len(_places(claim))):
        open_ = sorted(free & set(_places(claim)))
        if not open_:
            return None
        place = open_[rng.integers(len(open_))]
        free.discard(place)
        shape, color, size = (
            claim.get(facet) or _one(rng, names)
            for facet, names in (("shape", SHAPES), ("color", COLORS), ("size", SIZES))
        )
        things.append(Thing(shape, color, size, *place))
    return tuple(sorted(things, key=lambda thing: (thing.row, thing.column)))


def _places(claim: Claim) -> list[tuple[int, int]]:
    """The places that fit; "center" fills the direction that no other word names."""
    middle = "1" if "center" in claim else None
    row, column = claim.get("row", middle), claim.get("column", middle)
    return [(r, c) for r, c in PLACES if row in (None, str(r)) and column in (None, str(c))]


def _one(rng: np.random.Generator, names: Mapping[str, object]) -> str:
    return tuple(names)[rng.integers(len(names))]
