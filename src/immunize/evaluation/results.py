"""What one attack did to one model, example by example: the schema on disk, all that a report reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from immunize.config import dump, frozen, parse

SCHEMA = 2
WORST = "worst"  # the worst of all attacks on each example, made of their results: no attack may bear this name


class ResultError(ValueError):
    """A result file is missing, broken or of another schema; the message names the file and what to do."""


@frozen
class Flag:
    """One reason to trust or distrust a result: `value` was compared with `limit`; `meaning` says it in a sentence."""

    name: str
    ok: bool
    value: float
    limit: float
    meaning: str


@frozen
class Result:
    """Per image: `image_ids`, `image_rank`, `linf` (after 8-bit quantization, pixels in [0, 1]).

    Per caption: `caption_ids`, `owner` (position of its image), `caption_rank`, `similarity` (cosine with its own
    image), `changed_words`. Ranks count the wrong answers ahead of the right one. Per image, as the attack says before
    rounding, empty for clean data: `success`, `forwards` and `backwards` of the image tower, `texts` encoded. `counts`:
    refusals by reason, what did not change, and the images that rounding gave back to the model.
    """

    preset: str
    defense: str
    attack: str
    config: dict[str, Any]
    seed: int
    data_hash: str
    model_hash: str
    image_ids: list[str]
    caption_ids: list[str]
    owner: list[int]
    image_rank: list[int]
    caption_rank: list[int]
    similarity: list[float]
    linf: list[float]
    changed_words: list[int]
    success: list[bool]
    forwards: list[int]
    backwards: list[int]
    texts: list[int]
    counts: dict[str, int]
    flags: list[Flag]
    seconds: float
    device: str
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _same_length(self, "image_ids", "image_rank", "linf")
        _same_length(self, "caption_ids", "owner", "caption_rank", "similarity", "changed_words")
        _same_length(self, "success", "forwards", "backwards", "texts", *(["image_ids"] if self.success else []))


@frozen
class Sweep:
    """Recall at 1 in percent against the radius, as fractions of the pixel range [0, 1]."""

    attack: str
    eps: list[float]
    tr_r1: list[float]
    ir_r1: list[float]

    def __post_init__(self) -> None:
        _same_length(self, "eps", "tr_r1", "ir_r1")


def write(result: Any, path: Path) -> None:
    """One line a field, keys sorted: equal results, equal bytes. Raises ResultError on a number that is not finite."""
    fields = dump(result)
    bad = sorted(name for name, value in fields.items() if _not_finite(value))
    if bad:
        raise ResultError(f"{path}: {', '.join(bad)} is not finite; look for the cause in the evaluation")
    lines = (f"{json.dumps(name)}: {json.dumps(fields[name], sort_keys=True)}" for name in sorted(fields))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def read(path: Path) -> Result:
    """The result in `path`; raises ResultError if it is not there, not JSON, or written under another schema."""
    fields = _json(path)
    if fields.get("schema") != SCHEMA:
        raise ResultError(f"{path} has schema {fields.get('schema')!r}, this version reads {SCHEMA}; evaluate again")
    return parse(fields, Result, str(path))


def read_sweep(path: Path) -> Sweep:
    """The epsilon sweep in `path`; raises ResultError if it is not there or not JSON."""
    return parse(_json(path), Sweep, str(path))


def read_all(folder: Path) -> dict[str, dict[str, Result]]:
    """defense -> attack -> result, from `folder/<defense>/<attack>.json`; raises ResultError if there is none."""
    found: dict[str, dict[str, Result]] = {}
    for path in sorted(folder.glob("*/*.json")):
        if path.stem != "sweep":
            found.setdefault(path.parent.name, {})[path.stem] = read(path)
    if not found:
        raise ResultError(f"{folder} holds no <defense>/<attack>.json; run the stage evaluate first")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ResultError(f"{path} does not exist; run the stage evaluate first") from None
    except json.JSONDecodeError as error:
        raise ResultError(f"{path} is not JSON ({error}); evaluate again") from None


def _same_length(record: Result | Sweep, *names: str) -> None:
    lengths = {name: len(getattr(record, name)) for name in names}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"one entry an example is needed, these differ: {lengths}")


def _not_finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_not_finite, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)
