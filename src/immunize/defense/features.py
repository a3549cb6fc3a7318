"""Images of a training set behind a trunk that does not learn: what it makes of each is computed once."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from immunize.batch import Batch, Embedding
from immunize.data.loader import Pairs
from immunize.models import Clip


class Features:
    """f(x) = normalize(head(trunk(x))) for the images of `pairs`, trunk(x) from a table of n features."""

    def __init__(self, model: Clip, pairs: Pairs, block: int = 64) -> None:
        self.model = model
        self._row = {image_id: row for row, image_id in enumerate(pairs.image_ids)}
        model.eval()
        with torch.no_grad():
            parts = (part.to(model.device).float() / 255 for part in pairs.images.split(block))
            self._table = torch.cat([model.trunk(model.seen(part)) for part in parts])

    def __call__(self, batch: Batch) -> Embedding:
        """The embeddings of a batch by its image ids; its pixels are not looked at."""
        rows = torch.tensor([self._row[image_id] for image_id in batch.image_ids], device=self._table.device)
        return normalize(self.model.net.visual.head(self._table[rows]).float(), dim=-1)
