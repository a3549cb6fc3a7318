"""Pairs: what comes out of the tables is what went in, batch by batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from immunize.data.collect import collect
from immunize.data.loader import Pairs
from immunize.data.record import Record, Records, Rejection

Listing = Callable[[Sequence[Record | Rejection]], Records]


@pytest.fixture
def uneven(tmp_path: Path, healthy: list[Record], listed: Listing) -> tuple[Path, list[Record]]:
    """Training images with 1, 2, 3, 1, ... captions, across shards, one of them with a scene."""
    records = [replace(r, split="train", captions=r.captions[: 1 + k % 3]) for k, r in enumerate(healthy)]
    records[2] = replace(records[2], facts={"scene": {"b": 1, "a": [2]}})
    collect(listed(records), tmp_path / "u", size=32, max_characters=60, max_rejected=0.0, shard_images=5)
    return tmp_path / "u", records


def test_pixels_captions_and_truth_are_those_of_the_records(uneven: tuple[Path, list[Record]]) -> None:
    folder, records = uneven
    pairs = Pairs.read(folder, "train")
    assert len(pairs) == 12 and pairs.images.dtype == torch.uint8
    for k, record in enumerate(records):
        assert (pairs.images[k].permute(1, 2, 0).numpy() == np.asarray(record.image)).all()
    assert pairs.captions == tuple(caption for record in records for caption in record.captions)
    assert pairs.owner.tolist() == [k for k, record in enumerate(records) for _ in record.captions]
    assert pairs.caption_ids[:4] == ("i0#0", "i1#0", "i1#1", "i2#0")
    assert pairs.truth[1] is None and json.loads(pairs.truth[2] or "") == {"a": [2], "b": 1}


@pytest.mark.parametrize("index", [[0], [3, 1, 11], [5, 5], list(range(12)), []])
def test_a_batch_agrees_with_a_plain_loop(uneven: tuple[Path, list[Record]], index: list[int]) -> None:
    folder, records = uneven
    batch = Pairs.read(folder, "train").batch(torch.tensor(index, dtype=torch.int64))
    chosen = [records[i] for i in index]
    assert batch.image_ids == tuple(record.image_id for record in chosen)
    assert batch.captions == tuple(caption for record in chosen for caption in record.captions)
    assert batch.owner.tolist() == [b for b, record in enumerate(chosen) for _ in record.captions]
    assert batch.caption_ids == tuple(f"{r.image_id}#{c}" for r in chosen for c in range(len(r.captions)))
    assert len(batch.truth) == len(index)
    for image, record in zip(batch.images, chosen, strict=True):
        assert torch.equal((image * 255).round().byte().permute(1, 2, 0), torch.from_numpy(np.array(record.image)))


def test_a_split_and_a_limit_choose_the_first_images(tables: Path) -> None:
    assert Pairs.read(tables, "test").image_ids == ("i5", "i11")
    few = Pairs.read(tables, "train", limit=3)
    assert few.image_ids == ("i0", "i1", "i2") and len(few.captions) == 9
    assert Pairs.read(tables, "train", limit=7).image_ids[-1] == "i8"  # beyond the first shard


def test_the_hash_names_the_content(tables: Path) -> None:
    pairs = Pairs.read(tables, "train")
    pixels = pairs.images.clone()
    pixels[1, 2, 3, 4] ^= 1
    others = [
        replace(pairs, images=pixels),
        replace(pairs, captions=("another", *pairs.captions[1:])),
        replace(pairs, owner=pairs.owner.flip(0)),
        Pairs.read(tables, "test"),
    ]
    assert pairs.hash() == Pairs.read(tables, "train").hash()
    assert len({pairs.hash(), *(other.hash() for other in others)}) == 5


def test_what_is_not_there_is_named(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no image of split 'dev'.*train, validation and test"):
        Pairs.read(tables, "dev")
    with pytest.raises(FileNotFoundError, match="run the stage collect first"):
        Pairs.read(tmp_path / "nowhere", "train")
