"""The attacked pairs on disk: 8-bit PNG and text, to look at or to train on."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from immunize.evaluation.suite import Attacked


def keep(attacked: Attacked, folder: Path, limit: int) -> None:
    """images.parquet (image_id, image) and captions.parquet (caption_id, image_id, original, caption), `limit` at most."""
    folder.mkdir(parents=True, exist_ok=True)
    limit = min(limit, attacked.count)
    pairs, clean = attacked.pairs, attacked.clean
    owner = [i for i in clean.owner.tolist() if i < limit]
    images = {"image_id": clean.image_ids[:limit], "image": [_png(image) for image in pairs.images[:limit]]}
    captions = {
        "caption_id": clean.caption_ids[: len(owner)],
        "image_id": [clean.image_ids[i] for i in owner],
        "original": clean.captions[: len(owner)],
        "caption": pairs.captions[: len(owner)],
    }
    pq.write_table(pa.table(images), folder / "images.parquet")
    pq.write_table(pa.table(captions), folder / "captions.parquet")


def _png(image: UInt8[Tensor, "3 h w"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="png")
    return buffer.getvalue()
