"""The attack to look at: clean, adversarial, the difference magnified, the caption with its changed words marked."""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image

from immunize.evaluation.results import Result, ResultError

Pixels = UInt8[np.ndarray, "h w 3"]
Words = list[tuple[str, bool]]  # a word, and whether the attack changed it


@dataclass(frozen=True, slots=True)
class Example:
    """One test image with one of its captions; ranks are places (1 = found first), before and after the attack.

    `attack`: its name, where examples of several stand together. Without `caption_place` the texts are classes.
    """

    image_id: str
    clean: Pixels
    adversarial: Pixels
    before: Words
    after: Words
    image_place: tuple[int, int]
    caption_place: tuple[int, int] | None
    attack: str = ""


def examples(result: Result, clean: Result, root: Path, count: int = 5) -> list[Example]:
    """`count` images evenly spaced through those kept, so not picked for their looks; [] if none was kept.

    Reads `reports/<preset>/adversarial/<defense>/<attack>/` and `data/<preset>/collect/images/`; raises ResultError if
    an image of the one is not in the other or has another size.
    """
    there = _kept_ids(result, root)
    return _shown(result, clean, root, there[:: max(len(there) // count, 1)][:count])


def by_image(by_attack: dict[str, Result], names: Sequence[str], root: Path, count: int = 3) -> list[list[Example]]:
    """The same `count` images under each attack of `names` that kept them: one list an image, one example an attack."""
    clean = by_attack["clean"]
    kept = {name: ids for name in names if name in by_attack and (ids := _kept_ids(by_attack[name], root))}
    common = [i for i in clean.image_ids if all(i in ids for ids in kept.values())] if kept else []
    ids = common[:: max(len(common) // count, 1)][:count]
    columns = [
        [replace(example, attack=name) for example in _shown(by_attack[name], clean, root, ids)] for name in kept
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def magnified(shown: Sequence[Example]) -> tuple[int, list[Pixels]]:
    """gray + factor * (adversarial - clean), with the one factor that fits the largest perturbation shown."""
    differences = [e.adversarial.astype(np.int16) - e.clean for e in shown]
    factor = max(127 // max(max(int(abs(d).max()) for d in differences), 1), 1)
    return factor, [np.clip(128 + factor * d, 0, 255).astype(np.uint8) for d in differences]


def _kept(result: Result, root: Path) -> Path:
    return root / "reports" / result.preset / "adversarial" / result.defense / result.attack


def _kept_ids(result: Result, root: Path) -> list[str]:
    path = _kept(result, root) / "images.parquet"
    return pq.read_table(path, columns=["image_id"])["image_id"].to_pylist() if path.exists() else []


def _shown(result: Result, clean: Result, root: Path, ids: list[str]) -> list[Example]:
    if not ids:
        return []
    kept = _kept(result, root)
    attacked = _images(kept / "images.parquet", ids)
    originals = _images(root / "data" / result.preset / "collect" / "images", ids)
    captions = _captions(kept / "captions.parquet", ids)
    for name, found in (("results", result.image_ids), ("collected", originals), ("captions", captions)):
        if missing := [i for i in ids if i not in found]:
            raise ResultError(f"{kept}: {missing[0]} is not among the {name}; run the stage evaluate again")
    for i in ids:
        if originals[i].shape != attacked[i].shape:
            raise ResultError(f"{i} is {originals[i].shape} collected and {attacked[i].shape} attacked; evaluate again")
    return [_example(i, originals[i], attacked[i], captions[i], (clean, result)) for i in ids]


def changes(before: str, after: str) -> tuple[Words, Words]:
    """The words of both captions, those that differ marked; insertions and deletions shift nothing else."""
    old, new = before.split(), after.split()
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    same_old = {i for block in matcher.get_matching_blocks() for i in range(block.a, block.a + block.size)}
    same_new = {i for block in matcher.get_matching_blocks() for i in range(block.b, block.b + block.size)}
    return ([(w, i not in same_old) for i, w in enumerate(old)], [(w, i not in same_new) for i, w in enumerate(new)])


def _example(
    image_id: str, original: Pixels, attacked: Pixels, captions: list[dict[str, Any]], results: tuple[Result, Result]
) -> Example:
    caption = next((c for c in captions if c["caption"] != c["original"]), captions[0])
    before, after = changes(caption["original"], caption["caption"])
    clean, result = results
    at = clean.image_ids.index(image_id), clean.caption_ids.index(caption["caption_id"])
    image_place = clean.image_rank[at[0]] + 1, result.image_rank[at[0]] + 1
    caption_place = clean.caption_rank[at[1]] + 1, result.caption_rank[at[1]] + 1
    return Example(image_id, original, attacked, before, after, image_place, caption_place)


def _images(path: Path, ids: list[str]) -> dict[str, Pixels]:
    rows = pq.read_table(path, columns=["image_id", "image"], filters=[("image_id", "in", ids)]).to_pylist()
    return {r["image_id"]: np.asarray(Image.open(io.BytesIO(r["image"])).convert("RGB")) for r in rows}


def _captions(path: Path, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(path, filters=[("image_id", "in", ids)]).to_pylist():
        found.setdefault(row["image_id"], []).append(row)
    return found
