"""Proposals kept on disk: a caption is looked at once by a masked language model, in whatever process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

TABLE = "create table if not exists proposals (key text, caption text, words text, primary key (key, caption))"


class Shelf:
    """A SQLite file of (key, caption) -> words; `key` says which model was asked, and how.

    Each `put` is one transaction, so that an interruption loses no more than that, and processes may share the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        with closing(self._open()) as connection, connection:
            connection.execute(TABLE)

    def get(self, key: str, captions: Sequence[str]) -> dict[str, tuple[tuple[str, ...], ...]]:
        """What is known of these captions."""
        query = "select caption, words from proposals where key = ? and caption in (select value from json_each(?))"
        with closing(self._open()) as connection:
            rows = connection.execute(query, (key, json.dumps(list(captions)))).fetchall()
        return {caption: tuple(map(tuple, json.loads(words))) for caption, words in rows}

    def put(self, key: str, found: Mapping[str, tuple[tuple[str, ...], ...]]) -> None:
        """Keep these."""
        rows = [(key, caption, json.dumps(words)) for caption, words in found.items()]
        with closing(self._open()) as connection, connection:
            connection.executemany("insert or replace into proposals values (?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)
