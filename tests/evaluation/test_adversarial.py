"""What is kept on disk is what was scored, to the bit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from immunize.attacks import SGA
from immunize.data.loader import Pairs
from immunize.evaluation.adversarial import keep
from immunize.evaluation.suite import evaluate
from immunize.models import Clip


def test_images_and_captions_come_back(trained: Clip, some: Pairs, joint: SGA, tmp_path: Path) -> None:
    (attacked,) = evaluate(trained, {"joint": joint}, some)
    keep(attacked, tmp_path / "joint", limit=5)
    images = pq.read_table(tmp_path / "joint" / "images.parquet").to_pydict()
    captions = pq.read_table(tmp_path / "joint" / "captions.parquet").to_pydict()
    pixels = [np.array(Image.open(io.BytesIO(png))).transpose(2, 0, 1) for png in images["image"]]
    assert images["image_id"] == list(some.image_ids[:5])
    assert torch.equal(torch.from_numpy(np.stack(pixels)), attacked.pairs.images[:5])
    assert captions["caption_id"] == list(some.caption_ids[:10])
    assert captions["image_id"] == [name for name in some.image_ids[:5] for _ in range(2)]
    assert captions["original"] == list(some.captions[:10]) != captions["caption"]
    assert captions["caption"] == list(attacked.pairs.captions[:10])


def test_a_limit_beyond_the_end_keeps_all(trained: Clip, some: Pairs, tmp_path: Path) -> None:
    (clean,) = evaluate(trained, {"clean": None}, some)
    keep(clean, tmp_path, limit=500)
    assert len(pq.read_table(tmp_path / "images.parquet")) == 16
    assert len(pq.read_table(tmp_path / "captions.parquet")) == 32
