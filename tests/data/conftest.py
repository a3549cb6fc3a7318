"""Small healthy records and tables, made anew: no file of any data set is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from immunize.data.collect import collect
from immunize.data.record import Record, Records, Rejection

Listing = Callable[[Sequence[Record | Rejection]], Records]


@dataclass(frozen=True)
class Listed:
    """A source that has its records in memory."""

    listed: Sequence[Record | Rejection]

    def records(self) -> Iterator[Record | Rejection]:
        yield from self.listed


@pytest.fixture
def listed() -> Listing:
    return Listed


@pytest.fixture
def healthy() -> list[Record]:
    """Twelve records of which none is rejected: smooth colored noise and three captions each, in all three splits."""
    splits = ["train", "train", "train", "train", "validation", "test"] * 2
    coarse = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)
    return [
        Record(
            image_id=f"i{k}",
            image=Image.fromarray(coarse[k]).resize((32, 32), Image.Resampling.BICUBIC),
            captions=[f"a {word} of {chr(97 + k)} things" for word in ("picture", "photo", "scene")],
            split=split,
        )
        for k, split in enumerate(splits)
    ]


@pytest.fixture
def tables(tmp_path: Path, healthy: list[Record]) -> Path:
    """A collect folder with the twelve healthy images in two shards."""
    folder = tmp_path / "collect"
    collect(Listed(healthy), folder, size=32, max_characters=100, max_rejected=0.0, shard_images=8)
    return folder
