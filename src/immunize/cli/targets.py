"""What each image is to be taken for: one text for all, or a file with a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from immunize.batch import Batch
from immunize.data.loader import Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Aimed(Pairs):
    """Pairs of which image i is to rank `targets[i]` first."""

    targets: tuple[str, ...]

    @classmethod
    def of(cls, pairs: Pairs, targets: tuple[str, ...]) -> Aimed:
        """The same pairs with their targets."""
        held: dict[str, Any] = {field.name: getattr(pairs, field.name) for field in fields(pairs)}
        return cls(**held, targets=targets)

    def batch(self, index: Int[Tensor, " b"], whole: bool = False) -> Batch:
        """The images' targets with them."""
        return replace(Pairs.batch(self, index, whole), targets=tuple(self.targets[i] for i in index.tolist()))


def read_targets(typed: str, count: int, prompts: Sequence[str] | None = None) -> tuple[str, ...]:
    """One text for each of `count` images, in order: `typed` itself, or the lines of that file, of which one does for all.

    Raises ValueError for another number of lines, for what looks like a file and is none, and for no line of `prompts`.
    """
    path = Path(typed)
    if not path.is_file() and path.suffix in (".txt", ".csv"):
        raise ValueError(f"--targets {typed} is no file; give a file with one text a line, or the text itself")
    lines = path.read_text().splitlines() if path.is_file() else [typed]
    texts = tuple(line.strip() for line in lines if line.strip())
    if len(texts) not in (1, count):
        raise ValueError(
            f"--targets {typed} has {len(texts)} lines for {count} images; give one for each, or one for all"
        )
    unknown = [text for text in texts if prompts is not None and text not in prompts]
    if unknown:
        raise ValueError(f"--targets: '{unknown[0]}' is no line of --classes")
    return texts * count if len(texts) == 1 else texts
