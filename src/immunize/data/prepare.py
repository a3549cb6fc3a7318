"""One record -> its rows in the tables, or the reasons why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from immunize.data.captions import clean
from immunize.data.decode import square
from immunize.data.record import SPLITS, Record, Rejection, Unusable
from immunize.data.shards import to_json


@dataclass(frozen=True, slots=True)
class Row:
    """One image and its captions; `image` is None where it is lost, `lost` counts its captions that are."""

    image: Mapping[str, Any] | None
    pairs: tuple[Mapping[str, Any], ...]
    rejections: tuple[Rejection, ...]
    lost: int

    def without_image(self, image_id: str, split: str, reason: Unusable) -> Row:
        """The row after all rejected, with all its captions."""
        whole = Rejection(image_id, None, split, reason.reason, reason.detail)
        return Row(None, (), (whole, *self.rejections), self.lost + len(self.pairs))


def prepare(record: Record | Rejection, size: int, max_characters: int) -> Row:
    """The image as `size` x `size` RGB with its fingerprints, the captions cleaned; never raises for bad data.

    A caption's id is "<image id>#<place in the source's list>", rejected captions counted.
    """
    if isinstance(record, Rejection):
        return Row(None, (), (record,), 0)
    row = _captions(record, max_characters)
    try:
        if not record.image_id or not record.image_id.isprintable():
            raise Unusable("bad_id", f"{record.image_id!a} is empty or not printable")
        if record.split not in SPLITS:
            raise Unusable("unknown_split", f"{record.split!r} is none of {', '.join(SPLITS)}")
        if not row.pairs:
            raise Unusable("no_usable_caption", f"none of {len(record.captions)}")
        return Row(_image(record, size), row.pairs, row.rejections, row.lost)
    except Unusable as error:
        return row.without_image(record.image_id, record.split, error)


def _image(record: Record, size: int) -> Mapping[str, Any]:
    picture = square(record.image, size)
    return {
        "image_id": record.image_id,
        "split": record.split,
        "image": picture.encoded,
        "width": size,
        "height": size,
        "sha256": picture.sha256,
        "dhash": picture.dhash,
        "facts": to_json(record.facts),
    }


def _captions(record: Record, max_characters: int) -> Row:
    pairs, rejections = [], []
    facts = record.caption_facts or [{}] * len(record.captions)
    for place, (caption, known) in enumerate(zip(record.captions, facts, strict=True)):
        caption_id = f"{record.image_id}#{place}"
        try:
            text = clean(caption, max_characters)
        except Unusable as error:
            rejections.append(Rejection(record.image_id, caption_id, record.split, error.reason, error.detail))
            continue
        ids = {"image_id": record.image_id, "caption_id": caption_id}
        pairs.append({**ids, "caption": text, "split": record.split, "facts": to_json(known)})
    return Row(None, tuple(pairs), tuple(rejections), len(rejections))
