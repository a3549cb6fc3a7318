"""Retrieval recall, tile by tile: the similarity matrix of all images with all captions is never held in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Two features that are equal in float32 may differ by rounding after a dot product; in float64 this is far above that
# rounding and far below what float32 can tell apart, so a tie is a tie whatever the tile size or the device.
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Ranks:
    """How many wrong answers come before the right one; 0 is a hit at 1.

    `image[i]`: captions of other images that score at least as high as the best own caption of image i (TR).
    `caption[c]`: other images that score at least as high as the own image of caption c (IR).
    """

    image: Int[Tensor, " n"]
    caption: Int[Tensor, " c"]


def ranks(
    image_features: Float[Tensor, "n d"],
    text_features: Float[Tensor, "c d"],
    owner: Int[Tensor, " c"],
    block: int = 1024,
) -> Ranks:
    """rank = #{wrong: <query, wrong> >= <query, best right>}, ties counted against the model.

    Caption c belongs to image `owner[c]`. Memory is O(block^2 + (n + c) d). Raises ValueError for features that are not
    finite (a NaN would win every comparison), an owner out of range, or an image without a caption.
    """
    images, texts = image_features.detach().double(), text_features.detach().double()
    owner = owner.to(images.device)
    _check(images, texts, owner)
    own = torch.cat([(t * images[o]).sum(1) for t, o in zip(texts.split(block), owner.split(block), strict=True)])
    best = torch.full((len(images),), -torch.inf, dtype=own.dtype, device=own.device)
    best = best.scatter_reduce(0, owner, own, "amax")
    image_rank, caption_rank = torch.zeros_like(best, dtype=torch.long), torch.zeros_like(own, dtype=torch.long)
    for i in range(0, len(images), block):
        rows = torch.arange(i, min(i + block, len(images)), device=owner.device)
        for c in range(0, len(texts), block):
            columns = slice(c, c + block)
            score = images[rows] @ texts[columns].T
            wrong = rows[:, None] != owner[columns]
            image_rank[rows] += (wrong & (score >= best[rows, None] - TIE)).sum(1)
            caption_rank[columns] += (wrong & (score >= own[columns] - TIE)).sum(0)
    return Ranks(image_rank.cpu(), caption_rank.cpu())


def recall(ranks: Int[Tensor, " n"], k: int) -> float:
    """R@k = 100 * mean(rank < k), in percent."""
    if not len(ranks):
        raise ValueError("recall of no query is undefined; the split is empty")
    return 100.0 * (ranks < k).double().mean().item()


def _check(images: Tensor, texts: Tensor, owner: Tensor) -> None:
    for name, features in (("image", images), ("text", texts)):
        bad = (~features.isfinite().all(1)).sum().item()
        if bad:
            raise ValueError(f"{bad} of {len(features)} {name} features are not finite; check the model and its input")
    if len(owner) and (owner.min() < 0 or owner.max() >= len(images)):
        raise ValueError(f"owner points outside the {len(images)} images: {owner.min()} to {owner.max()}")
    bare = (owner.bincount(minlength=len(images)) == 0).nonzero().flatten().tolist()
    if bare:
        raise ValueError(f"{len(bare)} images have no caption, the first at position {bare[0]}; leave them out")
