"""Tables of synonyms: written by hand, or the neighbors in a space of word vectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
import yaml
from torch.nn.functional import normalize

Synonyms = Mapping[str, tuple[str, ...]]


@lru_cache(maxsize=8)
def listed(path: str) -> Synonyms:
    """A YAML mapping of words to lists of words, or a text file of lines `word synonym synonym ...`."""
    text = Path(path).read_text()
    if path.endswith((".yaml", ".yml")):
        return {str(word).lower(): tuple(map(str, others)) for word, others in (yaml.safe_load(text) or {}).items()}
    rows = [line.split() for line in text.splitlines() if line.strip()]
    return {row[0].lower(): tuple(row[1:]) for row in rows}


@lru_cache(maxsize=8)
def neighbors(path: str, count: int, cosine: float, block: int = 1024) -> Synonyms:
    """The `count` nearest words of each word of a table of lines `word number number ...`, at this cosine or more."""
    rows = [line.split() for line in Path(path).read_text().splitlines() if len(line.split()) > 2]
    words = [row[0] for row in rows]
    table = normalize(torch.tensor([[float(number) for number in row[1:]] for row in rows]), dim=1)
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(words), block):
        similar = table[start : start + block] @ table.T
        similar[:, start : start + block].fill_diagonal_(-1)
        near = similar.topk(min(count, len(words) - 1), dim=1)
        for word, values, ids in zip(words[start : start + block], near.values.tolist(), near.indices.tolist()):
            found[word.lower()] = tuple(words[i] for value, i in zip(values, ids) if value >= cosine)
    return found
