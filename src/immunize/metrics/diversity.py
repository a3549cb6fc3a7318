"""How different the variants of one item are from each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def spread(embeddings: Float[Tensor, "n d"], owner: Int[Tensor, " n"]) -> float | None:
    """mean over items of the mean of 1 - <u, v> over the pairs of their variants; embeddings have norm 1.

    By |sum u|^2 = sum |u|^2 + 2 sum_{pairs} <u, v>, so that no pair is looked at. None where no item has two variants.
    """
    u = embeddings.double()
    items = int(owner.max()) + 1 if len(owner) else 0
    count = torch.bincount(owner, minlength=items)
    total = torch.zeros(items, u.shape[1], dtype=u.dtype, device=u.device).index_add_(0, owner.to(u.device), u)
    lengths = torch.zeros(items, dtype=u.dtype, device=u.device).index_add_(0, owner.to(u.device), u.square().sum(1))
    several = (count > 1).to(u.device)
    if not several.any():
        return None
    pairs = (count * (count - 1)).to(u.device)[several]
    similarity = (total.square().sum(1) - lengths)[several] / pairs
    return float((1 - similarity).mean())


def distinct(captions: Sequence[str], owner: Sequence[int], n: int = 2) -> float | None:
    """distinct-n = distinct n-grams / n-grams among the captions of an item (Li et al., arXiv:1510.03055), mean over items.

    Within the item, since over a whole corpus it falls with the size of the corpus. In (0, 1]; None without any n-gram.
    """
    grams: dict[int, list[tuple[str, ...]]] = {}
    for caption, item in zip(captions, owner, strict=True):
        words = caption.lower().split()
        grams.setdefault(item, []).extend(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    shares = [len(set(found)) / len(found) for found in grams.values() if found]
    return sum(shares) / len(shares) if shares else None
