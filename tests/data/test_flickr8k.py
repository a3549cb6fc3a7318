"""The real photographs, where they are at hand: the first hundred go in, come out and are found healthy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from immunize.data import Folder
from immunize.data.collect import collect
from immunize.data.loader import Pairs
from immunize.data.record import Record, Rejection
from immunize.data.validation import Thresholds, validate

DATA = Path(os.environ.get("IMMUNIZE_DATA", "../shared/data")) / "flickr8k"


@dataclass(frozen=True)
class First:
    """The first `count` records of each split."""

    source: Folder
    count: int

    def records(self) -> Iterator[Record | Rejection]:
        for split in ("train", "validation", "test"):
            yield from islice((r for r in self.source.records() if r.split == split), self.count)


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not here; set IMMUNIZE_DATA")
def test_photographs_go_through(tmp_path: Path) -> None:
    folder = Folder(DATA, {"train": "train", "test": "validation"}, {"validation": 400})
    records = list(First(folder, 34).records())
    summary = collect(First(folder, 34), tmp_path / "c", size=224, max_characters=300, max_rejected=0.0)
    assert (summary.images, summary.lost_images, summary.lost_captions) == (102, 0, 0)
    pairs = Pairs.read(tmp_path / "c", "test")
    first = next(record for record in records if record.split == "test")
    assert isinstance(first, Record) and isinstance(first.image, Path)
    assert (pairs.images[0].permute(1, 2, 0).numpy() == np.asarray(Image.open(first.image))).all()
    assert all(outcome.success for outcome in validate(tmp_path / "c", tmp_path / "v", Thresholds(size=224)))
