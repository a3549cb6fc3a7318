"""What was typed -> attacks and pairs; raises ValueError or what the readers raise, each saying what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import typer
import yaml

from immunize.attacks import Attack, parts
from immunize.cli.arsenal import Options, named
from immunize.cli.labels import Labeled
from immunize.config import parse
from immunize.data import Folder
from immunize.data.collect import collect
from immunize.data.record import Record, Records, Rejection
from immunize.models.language import load as load_language

Attacks = dict[str, Attack | None]


def usual_attacks() -> Attacks:
    """Image, text and joint, at 2/255 and one word."""
    return {way: named(name, Options()) for way, name in (("image", "pgd"), ("text", "bert_attack"), ("joint", "sga"))}


def read_attacks(path: Path) -> Attacks:
    """name -> attack from a file of them, or from the section `evaluate` of a preset."""
    content = yaml.safe_load(path.read_text())
    if isinstance(content, dict) and "evaluate" in content:
        section = content["evaluate"]
        content = section["attacks"] | (section.get("named") or {}).get("attacks", {})
    attacks: Attacks = parse(content, Attacks, str(path))
    for attack in attacks.values():
        check_languages(attack)
    return attacks


def collected(source: Path, split: str, limit: int | None, out: Path, size: int, labeled: bool) -> tuple[Path, str]:
    """A collect folder and its split; an imagefolder is collected into `out`/collect first, as `size` x `size` pixels.

    What cannot be used is listed in rejected.parquet there and counted on stderr. `labeled`: no caption is asked for.
    """
    if (source / "pairs.parquet").exists():
        return source, split
    name = "." if (source / "metadata.jsonl").exists() else split
    if not (source / name / "metadata.jsonl").exists():
        expected = f"pairs.parquet, metadata.jsonl or {split}/metadata.jsonl"
        raise FileNotFoundError(f"{source} has no {expected}: check --pairs and --split")
    records = _First(Labeled(source / name) if labeled else Folder(path=source, splits={"test": name}), limit)
    summary = collect(records, out / "collect", size=size, max_characters=300, max_rejected=1.0)
    typer.echo(f"{out / 'collect'}: {summary}", err=True)
    return out / "collect", "test"


@dataclass(frozen=True, slots=True)
class _First:
    """The first records of a folder, all where `limit` is None."""

    source: Records
    limit: int | None

    def records(self) -> Iterator[Record | Rejection]:
        yield from islice(self.source.records(), self.limit)


def check_languages(attack: Attack | None) -> None:
    """Loads the language models of the attack now, while what is missing can be told in one line."""
    for part in parts(attack):
        if getattr(part, "language", None) is not None:
            _check_language(part.language)


def _check_language(name: str) -> None:
    try:
        load_language(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{name}' is no masked language model, in a folder or on the hub: {error}") from None
