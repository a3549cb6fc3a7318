"""What a source hands over: one image with its captions, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

SPLITS = ("train", "validation", "test", "calibration")  # the last is optional: clean pairs that set thresholds


@dataclass(frozen=True, slots=True)
class Record:
    """An image as the source has it, its captions as they stand there (perhaps not strings), and the facts."""

    image_id: str
    image: bytes | Path | Image.Image
    captions: Sequence[object]
    split: str
    facts: dict[str, Any] = field(default_factory=dict)
    caption_facts: Sequence[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row of rejected.parquet: `caption_id` is None where the image is lost; `reason` is one word for machines."""

    image_id: str
    caption_id: str | None
    split: str
    reason: str
    detail: str


class Unusable(Exception):
    """An image or a caption that cannot be used: `reason` is one word for machines, `detail` a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        Exception.__init__(self, f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@runtime_checkable
class Records(Protocol):
    """A source: records in a fixed order, one at a time; what it cannot make a record of, it yields as a rejection."""

    def records(self) -> Iterator[Record | Rejection]: ...
