"""Tables on disk -> tensors: one split as 8-bit pixels, in memory or mapped from disk, cut into batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from immunize.batch import Batch
from immunize.data.pixels import decoded, mapped
from immunize.data.shards import read_images, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """`images[n]` in 0..255; `captions[c]` is of image `owner[c]`, ascending; `truth[n]` the scene's JSON or None.

    item: which images are variants of one, as numbers from 0 in table order; None is: each is an item of its own.
    """

    images: UInt8[Tensor, "n 3 h w"]
    captions: tuple[str, ...]
    owner: Int[Tensor, " c"]
    image_ids: tuple[str, ...]
    caption_ids: tuple[str, ...]
    truth: tuple[str | None, ...]
    item: Int[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def read(cls, folder: Path, split: str, limit: int | None = None, cache: Path | None = None) -> Pairs:
        """The images of `split` below a collect folder, the first `limit` in table order, with all their captions.

        cache: a folder where pixels are kept decoded and from which each batch reads its own, in place of memory
        (`data.pixels`). Raises FileNotFoundError without tables and ValueError for a split that has no image.
        """
        columns = ["image_id", "facts"] if cache else ["image_id", "facts", "image"]
        images = _images(folder, split, limit, columns)
        if not len(images):
            raise ValueError(f"no image of split {split!r} in {folder}: splits are train, validation and test")
        place = {image_id: i for i, image_id in enumerate(images["image_id"].to_pylist())}
        rows = pq.read_table(folder / "pairs.parquet", filters=[("split", "=", split)])
        rows = rows.select(["image_id", "caption_id", "caption"]).to_pylist()
        rows = sorted((row for row in rows if row["image_id"] in place), key=lambda row: place[row["image_id"]])
        facts = [json.loads(facts) for facts in images["facts"].to_pylist()]
        return cls(
            images=mapped(folder, split, len(images), cache) if cache else decoded(images["image"].to_pylist()),
            captions=tuple(row["caption"] for row in rows),
            owner=torch.tensor([place[row["image_id"]] for row in rows], dtype=torch.int64),
            image_ids=tuple(place),
            caption_ids=tuple(row["caption_id"] for row in rows),
            truth=tuple(None if one.get("scene") is None else to_json(one["scene"]) for one in facts),
            item=_items(place, [one.get("augmented", {}).get("from") for one in facts]),
        )

    def batch(self, index: Int[Tensor, " b"], whole: bool = False) -> Batch:
        """Images `index` in that order as float in [0, 1], with all their captions, `owner` counted anew from 0.

        With `whole` the split's other captions are the gallery, so that an image is ranked against all of them.
        """
        start, stop = torch.searchsorted(self.owner, index), torch.searchsorted(self.owner, index, right=True)
        count = stop - start
        owner = torch.repeat_interleave(torch.arange(len(index)), count)
        first = torch.cumsum(count, 0) - count
        positions = (torch.arange(len(owner)) - first[owner] + start[owner]).tolist()
        chosen, own = index.tolist(), set(positions)
        return Batch(
            images=self.images[index].float().div_(255),
            captions=tuple(self.captions[p] for p in positions),
            owner=owner,
            image_ids=tuple(self.image_ids[i] for i in chosen),
            caption_ids=tuple(self.caption_ids[p] for p in positions),
            truth=tuple(self.truth[i] for i in chosen),
            gallery=tuple(caption for c, caption in enumerate(self.captions) if whole and c not in own),
        )

    def head(self, count: int) -> Pairs:
        """The first `count` images with their captions."""
        kept = int((self.owner < count).sum())
        return replace(
            self,
            images=self.images[:count],
            captions=self.captions[:kept],
            owner=self.owner[:kept],
            image_ids=self.image_ids[:count],
            caption_ids=self.caption_ids[:kept],
            truth=self.truth[:count],
            item=None if self.item is None else self.item[:count],
        )

    def hash(self) -> str:
        """sha256 over pixels, captions and which belongs to which: 64 hex digits that name the data in a result."""
        digest = hashlib.sha256(self.images.contiguous().numpy().data)
        text = [list(self.images.shape), self.captions, self.owner.tolist()]
        digest.update(json.dumps(text, ensure_ascii=True).encode())
        return digest.hexdigest()


def captions_of(folder: Path, split: str) -> list[str]:
    """The captions of a split in table order, without reading an image."""
    return pq.read_table(folder / "pairs.parquet", filters=[("split", "=", split)])["caption"].to_pylist()


def _images(folder: Path, split: str, limit: int | None, columns: list[str]) -> pa.Table:
    tables: list[pa.Table] = []
    for table in read_images(folder, columns, split):
        tables.append(table)
        if limit is not None and sum(map(len, tables)) >= limit:
            break
    return pa.concat_tables(tables).slice(0, limit)


def _items(place: Mapping[str, int], origins: Sequence[str | None]) -> Int[Tensor, " n"] | None:
    """Numbers of the images they were made from, without gaps; an image whose origin is not here is its own."""
    if not any(origins):
        return None
    first = [place.get(origin or "", i) for i, origin in enumerate(origins)]
    return torch.unique(torch.tensor(first), return_inverse=True)[1]
