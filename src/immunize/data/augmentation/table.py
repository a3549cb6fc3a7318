"""Augmented pairs on disk, in the tables of `collect`, so that whatever reads those reads these."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from immunize.data.augmentation.material import Derived
from immunize.data.decode import square
from immunize.data.loader import Pairs
from immunize.data.shards import IMAGES, PAIRS, Shards, publish, read_images, to_json, write

SPLIT = "train"


def write_pairs(
    folder: Path, collected: Path, given: Pairs, new: Derived, measures: dict[str, Any], shard_images: int = 2000
) -> None:
    """pairs.parquet, images/ and measures.json in `folder`, at once: the `given` pairs as `collected` has them, then the new.

    The facts of what is new hold `augmented`: the id it was made `from`, and with an image whether the truth beside it is
    `known` to be that of its pixels. Same input, same bytes.
    """
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    rows = pq.read_table(collected / "pairs.parquet", filters=[("split", "=", SPLIT)]).to_pylist()
    kept = set(given.caption_ids)
    write(fresh / "pairs.parquet", [row for row in rows if row["caption_id"] in kept] + list(_captions(new)), PAIRS)
    shards, old = Shards(fresh, shard_images), set(given.image_ids)
    for table in read_images(collected, IMAGES.names, SPLIT):
        for row in table.to_pylist():
            if row["image_id"] in old:
                shards.add(row)
    shards.flush()  # the given images are the same files in every augmentation, so a cache keeps them once
    for row in _images(new, old):
        shards.add(row)
    shards.flush()
    (fresh / "measures.json").write_text(json.dumps(measures, indent=1, sort_keys=True) + "\n")
    publish(fresh, folder)


def _captions(new: Derived) -> Iterator[dict[str, str]]:
    pairs = new.pairs
    for caption, caption_id, owner, origin in zip(
        pairs.captions, pairs.caption_ids, pairs.owner.tolist(), new.caption_from, strict=True
    ):
        facts = to_json({"augmented": {"from": origin}})
        ids = {"image_id": pairs.image_ids[owner], "caption_id": caption_id}
        yield {**ids, "caption": caption, "split": SPLIT, "facts": facts}


def _images(new: Derived, old: set[str]) -> Iterator[dict[str, Any]]:
    pairs = new.pairs
    for i, image_id in enumerate(pairs.image_ids):
        if image_id in old:
            continue
        picture = square(Image.fromarray(pairs.images[i].permute(1, 2, 0).numpy()), pairs.images.shape[-1])
        truth = pairs.truth[i]
        facts: dict[str, Any] = {} if truth is None else {"scene": json.loads(truth)}
        yield {
            "image_id": image_id,
            "split": SPLIT,
            "image": picture.encoded,
            "width": picture.image.width,
            "height": picture.image.height,
            "sha256": picture.sha256,
            "dhash": picture.dhash,
            "facts": to_json(facts | {"augmented": {"from": new.image_from[i], "known": new.known}}),
        }
