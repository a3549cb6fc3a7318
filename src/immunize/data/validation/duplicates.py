"""The same or nearly the same picture in two splits: training on the test, however it came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped, UInt8

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Looks:
    """Of each image its difference hash (16 hex digits, "" where it cannot be read) and 8 x 8 color thumbnail."""

    dhashes: Sequence[str]
    thumbnails: UInt8[np.ndarray, "n 192"]


def same_content(images: pd.DataFrame, hashes: Sequence[str]) -> pd.Series:
    """For each image the id of one of *another* split with the same pixel hash, else null; "" is no hash."""
    splits = images["split"].fillna("").tolist()
    first: dict[str, dict[str, str]] = {}
    for content, split, image_id in zip(hashes, splits, images["image_id"], strict=True):
        if content and split:
            first.setdefault(content, {}).setdefault(split, image_id)
    rows = zip(hashes, splits, strict=True)
    other = [
        next((i for s, i in first.get(content, {}).items() if split and s != split), None) for content, split in rows
    ]
    return pd.Series(other, index=images.index, dtype="object")


def nearly_same(images: pd.DataFrame, looks: Looks, bits: int, levels: float) -> pd.Series:
    """For each image the id of one of *another* split that looks the same, else null.

    Looks the same: at most `bits` of the 64 bits of the difference hashes differ, and the 8 x 8 color thumbnails differ
    by at most `levels` of 255 on average. The hash, blind to color and brightness, finds candidates; the thumbnail
    decides. `calibration` counts as `validation`, whose scenes it may share.
    """
    hashes = np.array([int(value or "0", 16) for value in looks.dhashes], dtype=np.uint64)
    readable = np.array([value != "" for value in looks.dhashes], dtype=bool)
    found = np.full(len(images), -1)
    kept_apart = images["split"].replace("calibration", "validation")  # neither is trained on, nor reported
    splits = kept_apart.to_numpy(dtype=object)
    for one, other in combinations(sorted(kept_apart.dropna().unique()), 2):
        left, right = np.flatnonzero((splits == one) & readable), np.flatnonzero((splits == other) & readable)
        for i, j in _candidates(hashes, left, right, bits):
            near = np.abs(looks.thumbnails[i].astype(np.int16) - looks.thumbnails[j]).mean(axis=1) <= levels
            found[i[near]], found[j[near]] = j[near], i[near]
    ids = images["image_id"].to_numpy(dtype=object)
    return pd.Series([ids[k] if k >= 0 else None for k in found], index=images.index, dtype="object")


def _candidates(
    hashes: Shaped[np.ndarray, " n"], left: Int[np.ndarray, " a"], right: Int[np.ndarray, " b"], bits: int
) -> Iterator[tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]]:
    """Positions (i, j) whose hashes differ in at most `bits` bits, a block of rows at a time."""
    for start in range(0, len(left), _BLOCK):
        block = left[start : start + _BLOCK]
        distance = np.bitwise_count(hashes[block, None] ^ hashes[None, right])
        rows, columns = np.nonzero(distance <= bits)
        if len(rows):
            yield block[rows], right[columns]
