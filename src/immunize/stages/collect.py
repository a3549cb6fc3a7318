"""collect: a source -> data/<preset>/collect (pairs.parquet, images/, rejected.parquet)."""

from __future__ import annotations

from pathlib import Path

from immunize.config import frozen, load, preset
from immunize.data import Source
from immunize.data.collect import collect


@frozen
class Params:
    """Where pairs come from, the side of the images, and how much of the source may be unusable."""

    source: Source
    size: int
    max_characters: int = 300
    max_rejected: float = 0.01


def main() -> None:
    params = load("collect", Params)
    summary = collect(
        params.source,
        Path("data") / preset() / "collect",
        size=params.size,
        max_characters=params.max_characters,
        max_rejected=params.max_rejected,
    )
    print(summary)


if __name__ == "__main__":
    main()
