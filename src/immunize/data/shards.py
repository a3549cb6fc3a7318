"""The tables on disk: pairs, images in shards, and what was rejected; the same rows give the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PAIRS = pa.schema([(name, pa.string()) for name in ("image_id", "caption_id", "caption", "split", "facts")])
IMAGES = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("image", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("dhash", pa.string()),
        ("facts", pa.string()),
    ]
)
REJECTED = pa.schema([(name, pa.string()) for name in ("image_id", "caption_id", "split", "reason", "detail")])

Row = Mapping[str, Any]


def to_json(facts: Mapping[str, Any]) -> str:
    """Facts as JSON with sorted keys, so that equal facts are equal bytes."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)


def write(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Rows as parquet without any timestamp; images are compressed already and stay as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compression = {name: "none" if name == "image" else "zstd" for name in schema.names}
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, compression=compression)


def shard_paths(folder: Path) -> list[Path]:
    """The image shards below a collect folder in table order; raises FileNotFoundError where there is none."""
    paths = sorted((folder / "images").glob("images-*.parquet"))
    if not paths:
        raise FileNotFoundError(f"no images-*.parquet in {folder / 'images'}: run the stage collect first")
    return paths


def read_images(folder: Path, columns: Sequence[str], split: str | None = None) -> Iterator[pa.Table]:
    """One table a shard with these columns, only the rows of `split` where one is named."""
    chosen = None if split is None else [("split", "=", split)]
    for path in shard_paths(folder):
        yield pq.read_table(path, columns=list(columns), filters=chosen)


@dataclass(slots=True)
class Shards:
    """Writes image rows in shards of `rows_each` as they come, never holding more than one."""

    folder: Path
    rows_each: int
    _rows: list[Row] = field(default_factory=list)
    _written: int = 0

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == self.rows_each:
            self.flush()

    def flush(self) -> None:
        """Write what is left; at least one shard exists afterwards, if an empty one."""
        if self._rows or not self._written:
            write(self.folder / "images" / f"images-{self._written:05d}.parquet", self._rows, IMAGES)
            self._written += 1
            self._rows = []


def publish(partial: Path, folder: Path) -> None:
    """Put the finished folder in the place of the old one: a reader never finds half a table."""
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)
