"""A model with a memory of its captions: attack after attack meets the same texts, and none is encoded twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from immunize.batch import Embedding
from immunize.models.dual_encoder import DualEncoder
from immunize.models.wrapped import Wrapped


class Remembering(Wrapped):
    """`model`, as long as its weights do not change; `encode_captions` asks it for up to `limit` distinct captions.

    When the memory is full it is emptied, so that it costs limit * d floats and no more.
    """

    def __init__(self, model: DualEncoder, limit: int = 200_000) -> None:
        Wrapped.__init__(self, model)
        self.limit = limit
        self._row: dict[str, int] = {}
        self._table: Tensor | None = None

    def recall(self, captions: Sequence[str], encode: Callable[[Sequence[str]], Embedding]) -> Embedding:
        """g(t) of distinct captions, `encode` being asked only for those not met before."""
        new = [caption for caption in captions if caption not in self._row]
        if len(self._row) + len(new) > self.limit:
            self._row.clear()
            new = list(captions)
        if len(new) > self.limit:
            return encode(new)
        if new:
            self._store(new, encode(new))
        if self._table is None:
            return encode(captions)
        return self._table[torch.tensor([self._row[caption] for caption in captions], device=self._table.device)]

    def keep(self, captions: Sequence[str], text: Embedding) -> None:
        """Remember g(t) of captions that were encoded elsewhere, where there is room."""
        rows = {caption: row for row, caption in enumerate(captions) if caption not in self._row}
        if rows and len(self._row) + len(rows) <= self.limit:
            self._store([*rows], text[[*rows.values()]])

    def _store(self, captions: Sequence[str], text: Embedding) -> None:
        """Distinct captions that are new, and that there is room for."""
        start = len(self._row)
        if self._table is None:
            self._table = text.new_empty(self.limit, text.shape[1])
        self._table[start : start + len(captions)] = text
        self._row.update(zip(captions, range(start, start + len(captions))))

    def branch(self, captions: Sequence[str]) -> Remembering:
        """A memory of its own that begins with what this one knows of `captions`, whatever else it has met."""
        own = Remembering(self.model, self.limit)
        known = [caption for caption in dict.fromkeys(captions) if caption in self._row]
        if self._table is not None:
            own._table = torch.empty_like(self._table)
            own._table[: len(known)] = self._table[[self._row[caption] for caption in known]]
            own._row = dict(zip(known, range(len(known))))
        return own
