"""True captions of a scene from a small grammar: Zipf-distributed wordings, so that rare ones exist."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from functools import cache

import numpy as np

from immunize.data.scenes import lexicon as words
from immunize.data.scenes.world import Scene, Thing

# {x} is the list of objects, {g} the ground, {n} the count with its noun.
SENTENCES = (
    "{x} on a {g}",
    "there is {x} on a {g}",
    "{x}",
    "a picture of {x}",
    "the image shows {x} against a {g}",
    "we see {x} over a {g}",
    "{n} on a {g} , {x}",
    "on a {g} , {x}",
    "a {g} with {x}",
    "here is {x}",
    "this scene contains {n} , {x}",
    "a view featuring {x} on a {g}",
    "the photo depicts {x}",
    "drawn on a {g} , {x}",
)
OBJECTS = (
    "a {what} at the {where}",
    "a {what} in the {where}",
    "at the {where} a {what}",
    "a {what} , which sits at the {where}",
    "a {where} {what}",
    "a {what} placed in the {where} area",
    "in the {where} corner lies a {what}",
)
JOINTS = ("and", "beside", "accompanied by", "while here is", "next to")


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """One caption that is true of the scene: every object, most attributes, each word chosen by Zipf's law."""
    things = [scene.things[i] for i in rng.permutation(len(scene.things))]
    joint = f" {zipf(rng, JOINTS)} "
    listed = joint.join(_object(thing, rng) for thing in things)
    count = len(scene.things)
    noun = "shape" if count == 1 else "shapes"
    return zipf(rng, SENTENCES, 0.7).format(
        x=listed,
        g=f"{zipf(rng, words.GROUNDS[scene.ground])} {zipf(rng, words.SURFACES)}",
        n=f"{zipf(rng, words.COUNTS[str(count)])} {noun}",
    )


def _object(thing: Thing, rng: np.random.Generator) -> str:
    what = [zipf(rng, words.COLORS[thing.color]), zipf(rng, words.SHAPES[thing.shape])]
    if rng.random() < 0.85:
        what.insert(0, zipf(rng, words.SIZES[thing.size]))
    return zipf(rng, OBJECTS, 0.7).format(what=" ".join(what), where=_place(thing, rng))


def _place(thing: Thing, rng: np.random.Generator) -> str:
    row = zipf(rng, words.ROWS[str(thing.row)]) if thing.row != 1 else ""
    column = zipf(rng, words.COLUMNS[str(thing.column)]) if thing.column != 1 else ""
    if row and column:
        return f"{row} {column}"
    center = zipf(rng, words.CENTER)
    return f"{row} {center}" if row else f"{center} {column}".strip()


def zipf(rng: np.random.Generator, choices: Sequence[str], exponent: float = 1.3) -> str:
    """One of the choices, the i-th with probability proportional to i^-exponent."""
    return choices[bisect(_cumulative(len(choices), exponent), rng.random())]


@cache
def _cumulative(count: int, exponent: float) -> list[float]:
    """P(index <= i) for all but the last, with p(i) proportional to 1 / (i + 1)^exponent."""
    weights = 1.0 / np.arange(1, count + 1) ** exponent
    return (weights.cumsum() / weights.sum())[:-1].tolist()
