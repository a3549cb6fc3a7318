"""Pixels that stay on disk are those in memory: batch by batch, training included, and memory stays bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from immunize.data import pixels
from immunize.data.collect import collect
from immunize.data.loader import Pairs
from immunize.data.record import Record, Records, Rejection

Listing = Callable[[Sequence[Record | Rejection]], Records]


def test_a_batch_from_disk_is_the_batch_from_memory(tables: Path, tmp_path: Path) -> None:
    inside = Pairs.read(tables, "train")
    outside = Pairs.read(tables, "train", cache=tmp_path / "c")
    assert outside.hash() == inside.hash() and torch.equal(outside.images, inside.images)
    rows = torch.tensor([7, 0, 3])
    assert torch.equal(outside.batch(rows).images, inside.batch(rows).images)
    assert outside.batch(rows).captions == inside.batch(rows).captions
    few = Pairs.read(tables, "train", limit=7, cache=tmp_path / "c")  # over two shards
    assert torch.equal(few.images, inside.images[:7]) and few.image_ids == inside.image_ids[:7]


def test_the_file_is_written_once_and_whole(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> torch.Tensor:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pixels, "decoded", full)
        with pytest.raises(OSError, match="No space left"):
            Pairs.read(tables, "train", cache=tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []
    first = Pairs.read(tables, "train", cache=tmp_path / "c")
    monkeypatch.setattr(pixels, "decoded", full)
    assert Pairs.read(tables, "train", cache=tmp_path / "c").hash() == first.hash()
    (file,) = (tmp_path / "c").iterdir()
    assert file.stat().st_size == first.images.numel()


def test_another_collection_is_another_file(tables: Path, world: Path, tmp_path: Path) -> None:
    for folder, split in ((tables, "train"), (tables, "test"), (world, "train")):
        assert Pairs.read(folder, split, cache=tmp_path / "c").hash() == Pairs.read(folder, split).hash()
    assert len(list((tmp_path / "c").iterdir())) == 3


def test_what_is_mapped_cannot_change_the_file(tables: Path, tmp_path: Path) -> None:
    before = Pairs.read(tables, "train", cache=tmp_path / "c")
    kept = before.hash()
    before.images[0] = 0
    assert before.hash() != kept == Pairs.read(tables, "train", cache=tmp_path / "c").hash()


def test_memory_holds_a_shard_and_a_batch(tmp_path: Path, listed: Listing) -> None:
    """600 images of 128 x 128 in shards of 50: 29 MB of pixels, of which less than a quarter is ever in memory."""
    rng = np.random.default_rng(0)
    records = [
        Record(f"i{k}", Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)), [f"picture {k}"], "train")
        for k in range(600)
    ]
    collect(listed(records), tmp_path / "t", size=128, max_characters=60, max_rejected=0.0, shard_images=50)
    del records
    Pairs.read(tmp_path / "t", "train", cache=tmp_path / "first").batch(
        torch.arange(20)
    )  # the type checks compile here
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        pairs = Pairs.read(tmp_path / "t", "train", cache=tmp_path / "c")
        for start in range(0, 600, 20):
            assert pairs.batch(torch.arange(start, start + 20)).images.shape == (20, 3, 128, 128)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    whole = pairs.images.numel()
    assert most < whole / 4 and pa.total_allocated_bytes() - before < whole / 4
