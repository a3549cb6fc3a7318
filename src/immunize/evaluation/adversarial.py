"""The attacked pairs on disk: 8-bit PNG and text, to look at or to train on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from immunize.evaluation.suite import Attacked


def keep(attacked: Attacked, folder: Path, limit: int) -> None:
    """images.parquet (image_id, image) and captions.parquet (caption_id, image_id, original, caption), `limit` at most."""
    limit = min(limit, attacked.count)
    pairs, clean = attacked.pairs, attacked.clean
    owner = [i for i in clean.owner.tolist() if i < limit]
    captions = {
        "caption_id": clean.caption_ids[: len(owner)],
        "image_id": [clean.image_ids[i] for i in owner],
        "original": clean.captions[: len(owner)],
        "caption": pairs.captions[: len(owner)],
    }
    keep_images(clean.image_ids[:limit], pairs.images[:limit], folder)
    pq.write_table(pa.table(captions), folder / "captions.parquet")


def keep_images(image_ids: Sequence[str], images: UInt8[Tensor, "n 3 h w"], folder: Path) -> None:
    """images.parquet (image_id, image) in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {"image_id": list(image_ids), "image": [_png(image) for image in images]}
    pq.write_table(pa.table(rows), folder / "images.parquet")


def _png(image: UInt8[Tensor, "3 h w"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="png")
    return buffer.getvalue()
