"""What the expectations look at: the tables as they are, with columns measured anew from pixels and words."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from immunize.data.captions import clean
from immunize.data.decode import Square
from immunize.data.record import SPLITS, Unusable
from immunize.data.shards import IMAGES, PAIRS, REJECTED, read_images, shard_paths
from immunize.data.validation.duplicates import Looks, nearly_same, same_content


@dataclass(frozen=True, slots=True)
class _Seen:
    """An image read again; hashes are "" where it cannot be read."""

    side: str
    std: float
    sha256: str
    dhash: str
    thumbnail: bytes


def files(folder: Path) -> pd.DataFrame:
    """One row a file: the columns that are missing or too many, null where it has exactly those of its schema."""
    schemas = {folder / "pairs.parquet": PAIRS, folder / "rejected.parquet": REJECTED}
    schemas |= dict.fromkeys(shard_paths(folder), IMAGES)
    rows = []
    for path, schema in schemas.items():
        wrong = sorted(set(pq.read_schema(path).names) ^ set(schema.names)) if path.exists() else ["(no such file)"]
        rows.append({"id": path.stem, "wrong": ", ".join(wrong) or None})
    return pd.DataFrame(rows, dtype="object")


def images(folder: Path, bits: int, levels: float) -> pd.DataFrame:
    """The images table, with what its pixels and facts say when they are read again.

    side: "32x32". std. intact: the pixels have the hashes of the row. same_content_in, near_duplicate_of:
    the id of an image in another split, or null.
    """
    tables: list[pd.DataFrame] = []
    seen: list[_Seen] = []
    with ThreadPoolExecutor(2) as pool:
        for table in read_images(folder, IMAGES.names):
            seen += pool.map(_look, table["image"].to_pylist())
            tables.append(table.drop_columns(["image"]).to_pandas())
    frame = pd.concat(tables, ignore_index=True)
    rows = zip(frame["sha256"], frame["dhash"], seen, strict=True)
    frame["side"] = [look.side for look in seen]
    frame["std"] = [look.std for look in seen]
    frame["intact"] = [(sha256, dhash) == (look.sha256, look.dhash) for sha256, dhash, look in rows]
    frame["facts_readable"] = [_object(facts) is not None for facts in frame["facts"]]
    thumbnails = np.frombuffer(b"".join(look.thumbnail for look in seen), dtype=np.uint8).reshape(-1, 192)
    looks = Looks([look.dhash for look in seen], thumbnails)
    frame["same_content_in"] = same_content(frame, [look.sha256 for look in seen])
    frame["near_duplicate_of"] = nearly_same(frame, looks, bits, levels)
    return frame


def pairs(folder: Path, images: pd.DataFrame) -> pd.DataFrame:
    """The pairs table, with the split of the image, the verdict of cleaning, shares of words, repeats and truth."""
    frame = pq.read_table(folder / "pairs.parquet").to_pandas()
    captions = [caption if isinstance(caption, str) else "" for caption in frame["caption"]]
    by_image = images.drop_duplicates("image_id").set_index("image_id")
    frame["image_split"] = frame["image_id"].map(by_image["split"])
    frame["split_agrees"] = (frame["split"] == frame["image_split"]) | frame["image_split"].isna()
    frame["cleaning"] = [_cleaning(caption) for caption in captions]
    frame["word_share"] = [_word_share(caption) for caption in captions]
    frame["ascii_share"] = [sum(map(str.isascii, c)) / max(len(c), 1) for c in captions]
    frame["repeat"] = frame["caption"].duplicated()
    frame["is_true"] = _truth(captions, frame["image_id"].map(by_image["facts"]))
    return frame


def shares(folder: Path, images: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Two rows: the share of images and the share of captions that `collect` rejected."""
    rejected = pq.read_table(folder / "rejected.parquet", columns=["caption_id"])["caption_id"]
    lost = {"images": rejected.null_count, "captions": len(rejected) - rejected.null_count}
    kept = {"images": len(images), "captions": len(pairs)}
    return pd.DataFrame([{"id": what, "rejected": n / max(n + kept[what], 1)} for what, n in lost.items()])


def splits(images: pd.DataFrame, minimum: Mapping[str, int]) -> pd.DataFrame:
    """One row a split: how many images it lacks of the configured minimum."""
    counts = images["split"].value_counts()
    lacking = {split: max(minimum.get(split, 0) - int(counts.get(split, 0)), 0) for split in SPLITS}
    return pd.DataFrame([{"id": split, "lacking": number} for split, number in lacking.items()])


def _look(encoded: bytes) -> _Seen:
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            square = Square(opened.convert("RGB"), encoded)
    except Exception:  # whatever the reason: the row fails `image_intact`, which names it
        return _Seen("unreadable", 0.0, "", "", bytes(192))
    image = square.image
    std = float(np.asarray(image).std(dtype=np.float32))
    thumbnail = image.resize((8, 8), Image.Resampling.BOX).tobytes()
    return _Seen(f"{image.width}x{image.height}", std, square.sha256, square.dhash, thumbnail)


def _cleaning(caption: str) -> str:
    """What cleaning says of a caption that should be clean: `clean`, `white_space`, or the reason of a rejection."""
    try:
        return "clean" if clean(caption, len(caption)) == caption else "white_space"
    except Unusable as error:
        return error.reason


def _word_share(caption: str) -> float:
    """Words that have only letters (within them ' and -) / words; punctuation that stands alone is no word."""
    words = [word.strip(".,;:!?\"'()[]-&") for word in caption.split()]
    words = [word.replace("-", "").replace("'", "") for word in words if word]
    return sum(map(str.isalpha, words)) / max(len(words), 1)


def _truth(captions: list[str], facts: pd.Series) -> list[bool | None]:
    """Whether each caption is true of its scene; null where the source knows no scene."""
    scenes = {text: (_object(text) or {}).get("scene") for text in facts.dropna().unique()}
    texts = {facts: json.dumps(scene, sort_keys=True) for facts, scene in scenes.items() if scene is not None}
    return [None if f not in texts else _is_true(c, texts[f]) for c, f in zip(captions, facts, strict=True)]


def _is_true(caption: str, scene: str) -> bool:
    from immunize.data.scenes.truth import is_true

    try:
        return is_true(caption, scene)
    except (KeyError, TypeError, AttributeError):  # facts that are no scene: nothing is true of them
        return False


def _object(facts: object) -> dict[str, Any] | None:
    """The facts as an object, None where they are not JSON or not an object."""
    try:
        value = json.loads(facts) if isinstance(facts, str) else None
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
