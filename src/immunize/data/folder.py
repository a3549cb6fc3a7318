"""A Hugging Face `imagefolder`: a folder of images a split, with a metadata.jsonl that gives their captions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from immunize.config import frozen
from immunize.data.record import Record, Rejection

_CAPTIONS = ("captions", "caption", "text")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")


@frozen
class Folder:
    """`splits` maps our splits to folders below `path`; `holdout` moves n images of train to another split.

    The held-out images are the n of train with the smallest hash of their id: the same on every machine, and still
    nearly the same when images are added. A line of metadata.jsonl is {"file_name": ..., "captions": [...]}, or one
    string under `caption` or `text`; `image_id` is optional (the file name without its suffix). Other keys are facts.
    """

    path: Path
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "validation": "validation"})
    holdout: dict[str, int] = field(default_factory=dict)
    kind: Literal["folder"] = "folder"

    def records(self) -> Iterator[Record | Rejection]:
        """In the order of `splits` and of the lines; images without a line come last in their split, as rejections."""
        for split, name in self.splits.items():
            root = self.path / name
            lines = list(_lines(root / "metadata.jsonl"))
            moved = self._moved([_id(line) for line in lines if isinstance(line, dict)]) if split == "train" else {}
            yield from (_record(root, split, number, line, moved) for number, line in enumerate(lines, 1))
            yield from _without_line(root, split, lines)

    def _moved(self, ids: list[str]) -> dict[str, str]:
        """image id -> the split that it is held out for."""
        order = iter(sorted(set(ids), key=lambda i: (hashlib.blake2b(i.encode(), digest_size=8).digest(), i)))
        if sum(self.holdout.values()) > len(set(ids)):
            raise ValueError(
                f"holdout {self.holdout} wants more than the {len(set(ids))} training images in {self.path}"
            )
        return {next(order): split for split, count in self.holdout.items() for _ in range(count)}


def _lines(path: Path) -> Iterator[Any]:
    """Each line as JSON, or as the text that it is where it is not JSON."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: it needs one line an image; check path and splits")
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for text in filter(str.strip, file):
            try:
                yield json.loads(text)
            except json.JSONDecodeError:
                yield text


def _id(line: Mapping[str, Any]) -> str:
    given = line.get("image_id")
    return str(given) if isinstance(given, str | int) and given != "" else Path(str(line.get("file_name"))).stem


def _record(root: Path, split: str, number: int, line: Any, moved: Mapping[str, str]) -> Record | Rejection:
    name = line.get("file_name") if isinstance(line, dict) else None
    if not isinstance(name, str) or not name or not any(key in line for key in _CAPTIONS):
        detail = f"{root.name}/metadata.jsonl line {number} has no file_name or no captions: {str(line)[:80]!a}"
        return Rejection(f"{split}:{number}", None, split, "bad_metadata", detail)
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return Rejection(_id(line), None, split, "outside_folder", f"{name!a} is not inside {root.name}")
    captions = next(line[key] for key in _CAPTIONS if key in line)
    facts = {key: value for key, value in line.items() if key not in ("image_id", *_CAPTIONS)}
    image_id = _id(line)
    several = captions if isinstance(captions, list) else [captions]
    return Record(image_id, root / name, several, moved.get(image_id, split), facts)


def _without_line(root: Path, split: str, lines: list[Any]) -> Iterator[Rejection]:
    named = {str(line.get("file_name")) for line in lines if isinstance(line, dict)}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix.lower() in _SUFFIXES and name not in named:
            yield Rejection(path.stem, None, split, "no_metadata", f"{name} has no line in {root.name}/metadata.jsonl")
