"""The words of the scenes world: what each one claims, commonest wording first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

SHAPES: Mapping[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "ball", "sphere", "orb"),
    "square": ("square", "box", "block", "cube"),
    "triangle": ("triangle", "wedge", "pyramid", "delta"),
    "diamond": ("diamond", "rhombus", "lozenge", "kite"),
    "cross": ("cross", "plus", "crucifix"),
    "star": ("star", "asterisk", "starburst"),
    "ring": ("ring", "hoop", "annulus", "doughnut"),
    "bar": ("bar", "plank", "beam", "stripe"),
}
COLORS: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "ruby"),
    "green": ("green", "emerald", "jade", "verdant"),
    "blue": ("blue", "azure", "cobalt", "navy"),
    "yellow": ("yellow", "golden", "lemon", "amber"),
    "purple": ("purple", "violet", "mauve", "lilac"),
    "orange": ("orange", "tangerine", "apricot"),
    "white": ("white", "ivory", "pale", "snowy"),
    "black": ("black", "ebony", "inky", "jet"),
}
SIZES: Mapping[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny", "miniature", "petite"),
    "large": ("large", "big", "huge", "giant", "massive"),
}
GROUNDS: Mapping[str, tuple[str, ...]] = {
    "plain": ("plain", "empty", "bare", "smooth"),
    "striped": ("striped", "banded", "lined"),
    "dotted": ("dotted", "spotted", "speckled"),
    "checkered": ("checkered", "gridded", "tessellated"),
}
ROWS: Mapping[str, tuple[str, ...]] = {"0": ("top", "upper"), "2": ("bottom", "lower")}
COLUMNS: Mapping[str, tuple[str, ...]] = {"0": ("left", "leftmost"), "2": ("right", "rightmost")}
CENTER = ("center", "middle", "central")
COUNTS: Mapping[str, tuple[str, ...]] = {"1": ("one", "single"), "2": ("two", "couple"), "3": ("three", "trio")}
THINGS = ("shape", "object", "figure", "thing", "item", "shapes", "objects", "figures", "things", "items")
SURFACES = ("ground", "background", "backdrop", "surface", "canvas")
BREAKS = ("and", "beside", "while", "accompanied", "next")
FILLERS = (
    "a an the is are there here in at on of to with we see shows showing show contains image picture scene photo sits "
    "lies stands placed located seen appears drawn against over behind this part corner side area region against by it "
    "has which that can be found near somewhere toward lying sitting standing rests resting view includes featuring "
    "features depicts depicting up painted exactly alongside also another"
).split()

Claims = Mapping[str, str]
BREAK: Claims = {"break": "clause"}


@cache
def claims() -> dict[str, Claims]:
    """word -> what it claims: {} nothing, BREAK that another object follows."""
    table: dict[str, Claims] = {word: {} for word in (*FILLERS, *THINGS, *SURFACES)} | {word: BREAK for word in BREAKS}
    facets = {
        "shape": SHAPES,
        "color": COLORS,
        "size": SIZES,
        "ground": GROUNDS,
        "row": ROWS,
        "column": COLUMNS,
        "count": COUNTS,
    }
    for facet, values in facets.items():
        for value, words in values.items():
            table.update({word: {facet: value} for word in words})
    table.update({word: {"center": "1"} for word in CENTER})
    return table


@cache
def readings(word: str) -> tuple[str, ...]:
    """The known words a person may read in `word`: itself, else every word one typo away (empty: unreadable)."""
    if word in claims():
        return (word,)
    return tuple(known for known in claims() if one_typo(word, known))


def one_typo(a: str, b: str) -> bool:
    """Damerau-Levenshtein distance (adjacent swaps count one) of at most 1."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    x, y = a[start : len(a) - end], b[start : len(b) - end]
    return max(len(x), len(y)) <= 1 or (len(x) == len(y) == 2 and x == y[::-1])
