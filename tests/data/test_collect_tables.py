"""collect: what goes in is in the tables or in rejected.parquet, never nowhere; the same input gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from immunize.data import shards
from immunize.data.collect import Summary, TooManyRejected, collect
from immunize.data.record import Record, Records, Rejection

Listing = Callable[[Sequence[Record | Rejection]], Records]


def run(source: Records, folder: Path, max_rejected: float = 1.0) -> Summary:
    return collect(source, folder, size=32, max_characters=60, max_rejected=max_rejected, shard_images=5)


def rejected(folder: Path) -> dict[tuple[str, str | None], str]:
    """(image id, caption id or None) -> reason."""
    rows = pq.read_table(folder / "rejected.parquet").to_pylist()
    return {(row["image_id"], row["caption_id"]): row["reason"] for row in rows}


def digest(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_every_record_is_in_the_tables_in_its_order(tmp_path: Path, healthy: list[Record], listed: Listing) -> None:
    summary = run(listed(healthy), tmp_path / "out")
    pairs = pq.read_table(tmp_path / "out" / "pairs.parquet")
    paths = shards.shard_paths(tmp_path / "out")
    images = pd.concat([pq.read_table(path).to_pandas() for path in paths])
    assert (pairs.schema, pq.read_schema(paths[0])) == (shards.PAIRS, shards.IMAGES)
    assert [path.name for path in paths] == ["images-00000.parquet", "images-00001.parquet", "images-00002.parquet"]
    assert list(images["image_id"]) == [record.image_id for record in healthy]
    assert pairs["caption"].to_pylist() == [caption for record in healthy for caption in record.captions]
    assert pairs["caption_id"].to_pylist()[:4] == ["i0#0", "i0#1", "i0#2", "i1#0"]
    assert (summary.images, summary.captions, summary.share) == (12, 36, 0)
    assert summary.splits == {"train": 8, "validation": 2, "test": 2}
    decoded = Image.open(io.BytesIO(images["image"].iloc[3]))
    assert (np.asarray(decoded) == np.asarray(healthy[3].image)).all()


def test_facts_are_kept_as_sorted_json(tmp_path: Path, healthy: list[Record], listed: Listing) -> None:
    facts = [{"b": 1, "a": "\u00e9\ud800"}, {}, {"c": None}]
    record = replace(healthy[0], facts={"scene": {"z": 1, "a": [2]}}, caption_facts=facts)
    run(listed([record]), tmp_path / "out")
    image = pq.read_table(shards.shard_paths(tmp_path / "out")[0])
    assert image["facts"].to_pylist() == ['{"scene":{"a":[2],"z":1}}']
    texts = pq.read_table(tmp_path / "out" / "pairs.parquet")["facts"].to_pylist()
    assert [json.loads(text) for text in texts] == facts and texts[0].startswith('{"a"')


def test_same_input_gives_the_same_bytes_and_replaces_the_old_folder(
    tmp_path: Path, healthy: list[Record], listed: Listing
) -> None:
    run(listed(healthy), tmp_path / "one")
    run(listed(healthy[:3]), tmp_path / "two")
    run(listed(healthy), tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_bad_caption_is_rejected_alone_and_the_others_keep_their_ids(
    tmp_path: Path, healthy: list[Record], listed: Listing
) -> None:
    bad = ["fine one", None, " ", "nul\0", "d" * 61, "  fine \n two "]
    run(listed([replace(healthy[0], captions=bad), *healthy[1:]]), tmp_path / "out")
    pairs = pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    assert [(p["caption_id"], p["caption"]) for p in pairs[:2]] == [("i0#0", "fine one"), ("i0#5", "fine two")]
    assert rejected(tmp_path / "out") == {
        ("i0", "i0#1"): "not_a_string",
        ("i0", "i0#2"): "empty_caption",
        ("i0", "i0#3"): "control_characters",
        ("i0", "i0#4"): "too_long",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": b"no image"}, "not_an_image"),
        ({"image": Path("no/such/file.png")}, "missing_file"),
        ({"image": Image.new("RGB", (1, 1))}, "too_small"),
        ({"image_id": "i0"}, "duplicate_id"),
        ({"image_id": ""}, "bad_id"),
        ({"image_id": "i\udcff"}, "bad_id"),
        ({"split": "dev"}, "unknown_split"),
        ({"captions": []}, "no_usable_caption"),
        ({"captions": [None, ""]}, "no_usable_caption"),
    ],
)
def test_a_bad_image_is_rejected_with_its_captions(
    tmp_path: Path, healthy: list[Record], listed: Listing, change: dict[str, object], reason: str
) -> None:
    broken = replace(healthy[1], **change)
    summary = run(listed([healthy[0], broken, *healthy[2:]]), tmp_path / "out")
    name = broken.image_id.encode("utf-8", "backslashreplace").decode()
    assert rejected(tmp_path / "out")[name, None] == reason
    pairs = pq.read_table(tmp_path / "out" / "pairs.parquet")
    assert len(pairs) == summary.captions == 33 and summary.images == 11
    assert summary.lost_captions == len(broken.captions)


def test_pixels_of_another_split_are_rejected_and_of_the_same_split_kept(
    tmp_path: Path, healthy: list[Record], listed: Listing
) -> None:
    leak = replace(healthy[4], image=healthy[0].image)  # a validation image
    twin = replace(healthy[1], image=healthy[0].image)
    run(listed([healthy[0], twin, leak]), tmp_path / "out")
    assert rejected(tmp_path / "out") == {("i4", None): "duplicate_content"}


def test_what_a_source_rejects_is_listed(tmp_path: Path, healthy: list[Record], listed: Listing) -> None:
    run(listed([*healthy, Rejection("line:7", None, "train", "bad_metadata", "line 7")]), tmp_path / "out")
    assert rejected(tmp_path / "out") == {("line:7", None): "bad_metadata"}


def test_above_the_share_it_fails_and_leaves_only_the_list(
    tmp_path: Path, healthy: list[Record], listed: Listing
) -> None:
    run(listed(healthy), tmp_path / "out")
    broken = [replace(healthy[0], image=b"no image"), *healthy[1:]]
    with pytest.raises(TooManyRejected, match=r"8\.33% .* allowed is 5\.00%.*i0: not_an_image.*rejected\.parquet"):
        run(listed(broken), tmp_path / "out", max_rejected=0.05)
    assert list(digest(tmp_path / "out")) == ["rejected.parquet"]
    assert rejected(tmp_path / "out") == {("i0", None): "not_an_image"}
    assert run(listed(broken), tmp_path / "out", max_rejected=1 / 12).images == 11


def test_captions_alone_can_be_too_many(tmp_path: Path, healthy: list[Record], listed: Listing) -> None:
    broken = [replace(record, captions=["fine", None]) for record in healthy]
    with pytest.raises(TooManyRejected, match=r"50\.00%"):
        run(listed(broken), tmp_path / "out", max_rejected=0.4)


def test_an_empty_source_is_too_little(tmp_path: Path, listed: Listing) -> None:
    with pytest.raises(TooManyRejected, match="the source is empty"):
        run(listed([]), tmp_path / "out")


def test_it_streams(tmp_path: Path, healthy: list[Record]) -> None:
    """A thousand records are never all asked for before the first is written."""
    written: list[int] = []

    class Watched:
        def records(self) -> Iterator[Record]:
            for k in range(1000):
                written.append(len(list((tmp_path / "out.partial" / "images").glob("*"))))
                yield replace(healthy[k % 12], image_id=f"r{k}", split="train")

    collect(Watched(), tmp_path / "out", size=32, max_characters=60, max_rejected=0.0, shard_images=100)
    assert written[0] == 0 and written[600] >= 4
