"""A source -> the pairs table, the images in shards, and the list of what was rejected and why."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from immunize.data.prepare import Row, prepare
from immunize.data.record import Record, Records, Rejection, Unusable
from immunize.data.shards import PAIRS, REJECTED, Shards, publish, write

_AHEAD = 256  # records decoded at a time: enough for two threads, little enough to hold


class TooManyRejected(RuntimeError):
    """More of the source was unusable than the configured share."""


@dataclass(slots=True)
class Summary:
    """What came out: images and captions kept and lost, images a split, rejections a reason."""

    images: int = 0
    captions: int = 0
    lost_images: int = 0
    lost_captions: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """The greater of lost / all over images and over captions; a lost image loses its captions."""
        images, captions = self.images + self.lost_images, self.captions + self.lost_captions
        return max(self.lost_images / max(images, 1), self.lost_captions / max(captions, 1))

    def count(self, row: Row) -> None:
        self.images += row.image is not None
        self.lost_images += row.image is None
        self.captions += len(row.pairs)
        self.lost_captions += row.lost
        self.splits.update([row.image["split"]] if row.image else [])
        self.reasons.update(rejection.reason for rejection in row.rejections)

    def __str__(self) -> str:
        splits = ", ".join(f"{count:,} {name}" for name, count in self.splits.items()) or "none"
        reasons = ", ".join(f"{count:,} {name}" for name, count in sorted(self.reasons.items())) or "nothing"
        return f"{self.images:,} images ({splits}), {self.captions:,} captions; rejected: {reasons}"


def collect(
    source: Records, folder: Path, *, size: int, max_characters: int, max_rejected: float, shard_images: int = 2000
) -> Summary:
    """Write pairs.parquet, images/ and rejected.parquet in `folder`, all at once at the end; same input, same bytes.

    Images become `size` x `size` RGB (`decode.to_rgb`), captions are cleaned (`captions.clean`), of an id or of the
    same pixels in two splits only the first stays. Raises TooManyRejected when more than the share `max_rejected` of
    images or captions is unusable; `folder` then holds rejected.parquet alone, so that nothing is trained on the rest.
    """
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    shards, summary = Shards(fresh, shard_images), Summary()
    pairs: list[Mapping[str, Any]] = []
    rejections: list[Rejection] = []
    rows = _parallel(lambda record: prepare(record, size, max_characters), source.records())
    for row in _shown(_unique(rows)):
        summary.count(row)
        pairs.extend(row.pairs)
        rejections.extend(row.rejections)
        if row.image is not None:
            shards.add(row.image)
    shards.flush()
    write(fresh / "pairs.parquet", pairs, PAIRS)
    too_many = not pairs or summary.share > max_rejected
    if too_many:
        shutil.rmtree(fresh)
    write(fresh / "rejected.parquet", [_encodable(rejection) for rejection in rejections], REJECTED)
    publish(fresh, folder)
    if too_many:
        raise TooManyRejected(_complaint(summary, max_rejected, rejections, folder))
    return summary


def _parallel(work: Callable[[Record | Rejection], Row], records: Iterable[Record | Rejection]) -> Iterator[Row]:
    """In order, two threads, a window of records at a time: Executor.map alone would read the whole source first."""
    source = iter(records)
    with ThreadPoolExecutor(2) as pool:
        while window := list(islice(source, _AHEAD)):
            yield from pool.map(work, window)


def _unique(rows: Iterable[Row]) -> Iterator[Row]:
    """Of an id that comes twice nobody knows whose the captions are; pixels in two splits are training on the test."""
    ids: set[str] = set()
    first: dict[str, tuple[str, str]] = {}  # sha256 -> id and split
    for row in rows:
        if row.image is not None:
            image_id, split = row.image["image_id"], row.image["split"]
            twin, home = first.setdefault(row.image["sha256"], (image_id, split))
            if image_id in ids:
                row = row.without_image(image_id, split, Unusable("duplicate_id", f"{image_id!r} came before"))
            elif home != split:
                same = Unusable("duplicate_content", f"the pixels of {twin!r} in split {home}")
                row = row.without_image(image_id, split, same)
            ids.add(image_id)
        yield row


def _shown(rows: Iterable[Row]) -> Iterator[Row]:
    """The same rows, with a count and a rate on the terminal."""
    columns = (SpinnerColumn(), TextColumn("collect"), TextColumn("{task.completed:,.0f} images"))
    speed, elapsed = TaskProgressColumn(show_speed=True), TimeElapsedColumn()
    with Progress(*columns, speed, elapsed, console=Console(stderr=True)) as bar:
        yield from bar.track(rows, total=None)


def _encodable(rejection: Rejection) -> dict[str, str | None]:
    """A row for parquet, which takes no half of a surrogate pair: what came broken is shown escaped."""
    texts = asdict(rejection).items()
    return {name: text and text.encode("utf-8", "backslashreplace").decode() for name, text in texts}


def _complaint(summary: Summary, allowed: float, rejections: list[Rejection], folder: Path) -> str:
    examples = "; ".join(f"{r.caption_id or r.image_id}: {r.reason} ({r.detail})" for r in rejections[:5])
    return (
        f"{summary.share:.2%} of the source is unusable, allowed is {allowed:.2%} (max_rejected). {summary}. "
        f"Examples: {examples or 'the source is empty'}. "
        f"All of them are in {folder / 'rejected.parquet'}: repair the source or raise max_rejected."
    )
