"""What the images of a classification are: prompts from a file, labels from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from immunize.data.loader import Pairs
from immunize.data.record import Record
from immunize.data.shards import read_images


@dataclass(frozen=True, slots=True)
class Labeled:
    """An imagefolder for classification: each line of metadata.jsonl has `file_name`, perhaps `label`, and no caption."""

    folder: Path

    def records(self) -> Iterator[Record]:
        """The lines in order; raises ValueError where one is no file inside the folder."""
        lines = (self.folder / "metadata.jsonl").read_text().splitlines()
        for number, line in enumerate(filter(str.strip, lines), 1):
            facts = json.loads(line)
            path = self.folder / str(facts.get("file_name", ""))
            if not path.is_file() or self.folder.resolve() not in path.resolve().parents:
                raise ValueError(
                    f"{self.folder / 'metadata.jsonl'} line {number}: 'file_name' is no file in {self.folder}"
                )
            caption = str(facts.get("label", "an image"))  # a place is needed, and nothing looks at it
            yield Record(path.stem, path, [caption], "test", facts)


def read_prompts(path: Path) -> tuple[str, ...]:
    """One prompt a line; raises ValueError for fewer than two different ones."""
    prompts = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    if len(set(prompts)) < max(len(prompts), 2):
        raise ValueError(f"{path} needs one prompt a line, two or more and all different; it has {len(prompts)}")
    return prompts


def read_labels(folder: Path, split: str, pairs: Pairs, prompts: tuple[str, ...]) -> Tensor | None:
    """The `label` of each image, a line number from 0 or the line itself; None where no image has one."""
    rows = [row for table in read_images(folder, ["image_id", "facts"], split) for row in table.to_pylist()]
    labels = {row["image_id"]: json.loads(row["facts"]).get("label") for row in rows}
    found = [labels.get(image_id) for image_id in pairs.image_ids]
    if all(label is None for label in found):
        return None
    for image_id, label in zip(pairs.image_ids, found):
        if label not in (*prompts, *range(len(prompts))) or isinstance(label, bool):
            raise ValueError(f"{image_id} has label {label!r}: neither a line of --classes nor its number from 0")
    return torch.tensor([label if isinstance(label, int) else prompts.index(str(label)) for label in found])
