"""What was typed -> attacks and pairs; raises ValueError or what the readers raise, each saying what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import typer
import yaml

from immunize.attacks import SGA, Attack, BertAttack
from immunize.config import parse
from immunize.data import Folder
from immunize.data.collect import collect
from immunize.data.loader import Pairs
from immunize.data.record import Record, Rejection
from immunize.models.language import load as load_language

Attacks = dict[str, Attack | None]
SCALES = (0.5, 0.75, 1.25, 1.5)  # of SGA, arXiv:2307.14061, beside the image itself


def named_attacks(eps: str, words: int, steps: int, language: str | None) -> Attacks:
    """The attacks that a command knows by name: with a language model its substitutes, without one misspellings."""
    ball = {"norm": "linf", "eps": radius(eps)}
    text = {"kind": "bert_attack", "threat": {"words": words}, "language": language, "typos": 0 if language else 8}
    pgd = {"kind": "pgd", "threat": ball, "steps": steps}
    known = {
        "noise": {"kind": "noise", "threat": ball},
        "pgd": pgd,
        "bert_attack": text,
        "sga": {"kind": "sga", "text": text, "image": {**pgd, "scales": SCALES}},
    }
    return _ready(known, "attack")


def usual_attacks() -> Attacks:
    """Image, text and joint, at 2/255 and one word."""
    known = named_attacks("2/255", 1, 10, None)
    return {"image": known["pgd"], "text": known["bert_attack"], "joint": known["sga"]}


def read_attacks(path: Path) -> Attacks:
    """name -> attack from a file of them, or from the section `evaluate` of a preset."""
    content = yaml.safe_load(path.read_text())
    if isinstance(content, dict) and "evaluate" in content:
        content = content["evaluate"]["attacks"]
    return _ready(content, str(path))


def radius(text: str) -> float:
    """ "2/255" or "0.01" as a number; raises ValueError outside [0, 1], the range of the pixels."""
    try:
        value = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"--eps '{text}' is no number; write 2/255 or 0.01") from None
    if not 0 <= value <= 1:
        raise ValueError(f"--eps {text} is outside [0, 1], the range of the pixels; write it as 2/255 or 0.01")
    return value


def read_pairs(source: Path, split: str, limit: int | None, out: Path, size: int) -> Pairs:
    """The pairs of a collect folder; an imagefolder is collected into `out`/collect first, as `size` x `size` pixels.

    What cannot be used is listed in rejected.parquet there and counted on stderr.
    """
    if (source / "pairs.parquet").exists():
        return Pairs.read(source, split, limit)
    name = "." if (source / "metadata.jsonl").exists() else split
    if not (source / name / "metadata.jsonl").exists():
        expected = f"pairs.parquet, metadata.jsonl or {split}/metadata.jsonl"
        raise FileNotFoundError(f"{source} has no {expected}: check --pairs and --split")
    records = _First(Folder(path=source, splits={"test": name}), limit)
    summary = collect(records, out / "collect", size=size, max_characters=300, max_rejected=1.0)
    typer.echo(f"{out / 'collect'}: {summary}", err=True)
    return Pairs.read(out / "collect", "test")


@dataclass(frozen=True, slots=True)
class _First:
    """The first records of a folder, all where `limit` is None."""

    source: Folder
    limit: int | None

    def records(self) -> Iterator[Record | Rejection]:
        yield from islice(self.source.records(), self.limit)


def _ready(content: Any, where: str) -> Attacks:
    """The attacks, their language models loaded now, while what is missing can be told in one line."""
    attacks: Attacks = parse(content, Attacks, where)
    for attack in attacks.values():
        text = attack.text if isinstance(attack, SGA) else attack
        if isinstance(text, BertAttack) and text.language is not None:
            _check_language(text.language)
    return attacks


def _check_language(name: str) -> None:
    try:
        load_language(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{name}' is no masked language model, in a folder or on the hub: {error}") from None
