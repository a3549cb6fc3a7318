"""The same claims in other words: a caption is read, and said again by the grammar."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from immunize.data.scenes import lexicon as words
from immunize.data.scenes.grammar import JOINTS, OBJECTS, SENTENCES, zipf
from immunize.data.scenes.truth import claimed, of_objects

Claim = Mapping[str, str]


def retell(caption: str, rng: np.random.Generator) -> str | None:
    """A caption with the claims of `caption`, no more and no fewer, its words chosen anew; None: it cannot be read."""
    clauses = claimed(caption)
    if clauses is None or not (objects := of_objects(clauses)):
        return None
    whole = {facet: value for clause in clauses for facet, value in clause.items() if facet in ("ground", "count")}
    joint = f" {zipf(rng, JOINTS)} "
    first = [
        claim for claim in objects if "shape" not in claim
    ]  # behind a shape it would be read as part of that object
    shaped = [claim for claim in objects if "shape" in claim]
    listed = joint.join(_object(claim, rng) for claim in (*first, *(shaped[i] for i in rng.permutation(len(shaped)))))
    fitting = [s for s in SENTENCES if ("{g}" in s) == ("ground" in whole) and ("{n}" in s) == ("count" in whole)]
    return zipf(rng, fitting, 0.7).format(
        x=listed,
        g=f"{_word(rng, words.GROUNDS, whole.get('ground'))} {zipf(rng, words.SURFACES)}",
        n=f"{_word(rng, words.COUNTS, whole.get('count'))} {'shape' if whole.get('count') == '1' else 'shapes'}",
    )


def _object(claim: Claim, rng: np.random.Generator) -> str:
    known = ((words.SIZES, claim.get("size")), (words.COLORS, claim.get("color")), (words.SHAPES, claim.get("shape")))
    said = [_word(rng, table, value) for table, value in known]
    what = " ".join(word for word in (*said[:2], said[2] or zipf(rng, ("shape", "object", "figure"))) if word)
    where = _place(claim, rng)
    return zipf(rng, OBJECTS, 0.7).format(what=what, where=where) if where else f"a {what}"


def _place(claim: Claim, rng: np.random.Generator) -> str:
    center = zipf(rng, words.CENTER) if "center" in claim else ""
    row, column = _word(rng, words.ROWS, claim.get("row")), _word(rng, words.COLUMNS, claim.get("column"))
    return " ".join(word for word in (row, center, column) if word)


def _word(rng: np.random.Generator, table: Mapping[str, tuple[str, ...]], value: str | None) -> str:
    return "" if value is None else zipf(rng, table[value])
