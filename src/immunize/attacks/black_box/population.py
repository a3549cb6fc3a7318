"""Many points of each image asked at once, as far as memory goes."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from immunize.attacks.victim import Best, Judged, Rows, Victim

BLOCK = 512  # images in one forward pass
PerImage = Literal["away", "consistency", "cross_entropy", "margin", "dlr"]  # an image may leave, so no `infonce`


def blocks(victim: Victim, points: int) -> tuple[Rows, ...]:
    """All images of `victim`, so many together that `points` of each fit in one forward pass."""
    return victim.all.split(max(1, BLOCK // points))


def query(
    victim: Victim, best: Best, x: Float[Tensor, "n m *shape"], rows: Rows
) -> tuple[Float[Tensor, "n m"], Bool[Tensor, "n m"]]:
    """The values and verdicts of m points of each image, the best of which `best` keeps."""
    count = x.shape[1]
    judged = victim.query(x.flatten(0, 1), rows.repeat_interleave(count))
    value, success = judged.value.float().view(-1, count), judged.success.view(-1, count)
    lost = success.any(dim=1, keepdim=True) & ~success
    top = value.masked_fill(lost, -torch.inf).argmax(dim=1)
    n = torch.arange(len(rows), device=rows.device)
    best.update(x[n, top], Judged(value[n, top], success[n, top]), rows)
    return value, success
