"""What may stand in the place of a word: the lexicon of the scenes, a table, or what a language model proposes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from immunize.data.augmentation.material import Material, Options, missing
from immunize.data.scenes import lexicon

PROPOSALS = 10


def options(given: Material, source: str, kind: str) -> Options:
    """For each caption and word its substitutes. source: `scenes`, `language`, or a file of lines `word synonym ...`.

    Raises ConfigurationError for a language model that is not there, or a file that does not exist.
    """
    if source == "language":
        if given.propose is None:
            raise missing(kind, "synonyms: language needs a masked language model; run the stage language first")
        return given.propose(given.pairs.captions, PROPOSALS)
    table = of_scenes() if source == "scenes" else _listed(Path(source), kind)
    return [[table.get(word.lower(), ()) for word in caption.split()] for caption in given.pairs.captions]


@cache
def of_scenes() -> Mapping[str, tuple[str, ...]]:
    """word -> the other words of the lexicon that claim the same thing; words that claim nothing have none."""
    tables = (lexicon.SHAPES, lexicon.COLORS, lexicon.SIZES, lexicon.GROUNDS, lexicon.ROWS, lexicon.COLUMNS)
    groups = [*(words for table in (*tables, lexicon.COUNTS) for words in table.values()), lexicon.CENTER]
    return {word: tuple(w for w in group if w != word) for group in (*groups, lexicon.SURFACES) for word in group}


def _listed(path: Path, kind: str) -> Mapping[str, tuple[str, ...]]:
    if not path.exists():
        raise missing(kind, f"synonyms: {path} does not exist; `scenes` and `language` need no file")
    rows = [line.lower().split() for line in path.read_text().splitlines() if line.strip()]
    return {row[0]: tuple(row[1:]) for row in rows}
