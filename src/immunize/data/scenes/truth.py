"""Is a caption true of a scene? Exact, because the scene is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import permutations

from immunize.data.scenes.lexicon import BREAK, Claims, claims, readings
from immunize.data.scenes.world import Scene, Thing

OF_SCENE = ("ground", "count")


def is_true(caption: str, scene: str | Scene) -> bool:
    """Every claim of the caption holds, each clause for a different object; an unreadable word makes it false.

    A word outside the lexicon is read as the known words one typo away; it is readable when these all claim the same.
    A clause ends at a comma or a joining word and may claim shape, color, size and place of one object; ground and
    count are claims about the whole scene.
    """
    scene = _parse(scene) if isinstance(scene, str) else scene
    clauses = claimed(caption)
    return clauses is not None and _holds(clauses, scene)


def claimed(caption: str) -> list[dict[str, str]] | None:
    """What a caption claims, one mapping of facet to value for each object or of the scene; None: nobody can tell."""
    clauses: list[dict[str, str]] = [{}]
    for word in caption.lower().split():
        claim = BREAK if word == "," else _claim(word)
        if claim == BREAK:
            clauses.append({})
        elif claim is None or _contradicts(clauses[-1], claim):
            return None
        else:
            clauses[-1].update(claim)
    return _merged(clauses)


def of_objects(clauses: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """The claims without those about the whole scene (`OF_SCENE`), one mapping for each object."""
    return _merged({facet: v for facet, v in clause.items() if facet not in OF_SCENE} for clause in clauses)


def _claim(word: str) -> Claims | None:
    """What the word claims, None if a person could not tell."""
    found = [claims()[known] for known in readings(word)]
    if not found or any(claim != found[0] for claim in found):
        return None
    return found[0]


def _contradicts(clause: Claims, claim: Claims) -> bool:
    return any(clause.get(facet, value) != value for facet, value in claim.items())


def _holds(clauses: list[dict[str, str]], scene: Scene) -> bool:
    of_scene = {"ground": scene.ground, "count": str(len(scene.things))}
    if any(clause.get(facet, value) != value for clause in clauses for facet, value in of_scene.items()):
        return False
    of_things = of_objects(clauses)
    if len(of_things) > len(scene.things):
        return False
    return any(all(map(_fits, of_things, chosen)) for chosen in permutations(scene.things, len(of_things)))


def _merged(clauses: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Claims without a shape ("a red disc , which sits at the top") belong to the object before them."""
    merged: list[dict[str, str]] = []
    for clause in filter(None, clauses):
        if merged and "shape" not in clause and "shape" in merged[-1]:
            merged[-1] |= clause
        else:
            merged.append(clause)
    return merged


def _fits(clause: Claims, thing: Thing) -> bool:
    actual = {"shape": thing.shape, "color": thing.color, "size": thing.size,
              "row": str(thing.row), "column": str(thing.column)}  # fmt: skip
    if "center" in clause:  # "center" fills the direction that no other word names
        clause = {"row": "1", "column": "1"} | {k: v for k, v in clause.items() if k != "center"}
    return all(actual[facet] == value for facet, value in clause.items())


@lru_cache(maxsize=65_536)
def _parse(text: str) -> Scene:
    return Scene.from_json(text)
