"""Which pairs a training step sees: a function of (seed, step) alone, so a resumed run sees what it would have seen."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from immunize.batch import Batch
from immunize.data.loader import Pairs


def pairs_of_step(pairs: Pairs, step: int, size: int, seed: int, captions: int = 1) -> Batch:
    """`size` items of the epoch's permutation, an image of each with `captions` of its own; the last partial batch is dropped.

    The first caption is drawn uniformly, further ones follow it in the table, from the last back to the first; an image
    that has fewer brings all it has. Raises what `rows_of_step` does.
    """
    batch = pairs.batch(rows_of_step(pairs, step, size, seed))
    count = torch.bincount(batch.owner, minlength=size)
    draw = (torch.rand(size, generator=generator(seed, 2, step)) * count).long()
    further = torch.arange(captions)
    kept = (further < count[:, None]).flatten()
    chosen = ((count.cumsum(0) - count)[:, None] + (draw[:, None] + further) % count[:, None]).flatten()[kept].tolist()
    return Batch(
        images=batch.images,
        captions=tuple(batch.captions[c] for c in chosen),
        owner=torch.arange(size).repeat_interleave(captions)[kept],
        image_ids=batch.image_ids,
        caption_ids=tuple(batch.caption_ids[c] for c in chosen),
        truth=batch.truth,
    )


def rows_of_step(pairs: Pairs, step: int, size: int, seed: int) -> Int[Tensor, " size"]:
    """Which images a step sees: one of each item, drawn uniformly, an item being an image with the variants made of it.

    No batch holds two images of an item, which would be each other's negatives. Raises ValueError where there are fewer
    items than one batch takes.
    """
    items = len(pairs) if pairs.item is None else int(pairs.item.max()) + 1
    if items < size:
        raise ValueError(f"a batch of {size} needs at least as many training images; there are {items}")
    epoch, place = divmod(step, items // size)
    order = torch.randperm(items, generator=generator(seed, 1, epoch))
    chosen = order[place * size : (place + 1) * size]
    if pairs.item is None:
        return chosen
    count = torch.bincount(pairs.item)
    drawn = (torch.rand(size, generator=generator(seed, 5, step)) * count[chosen]).long()
    return pairs.item.argsort(stable=True)[(count.cumsum(0) - count)[chosen] + drawn]


def generator(*numbers: int) -> Generator:
    """A generator seeded by these numbers together: (seed, purpose, step) give streams that do not overlap by accident."""
    seed = 0
    for number in numbers:
        seed = (seed * 6_364_136_223_846_793_005 + number + 1_442_695_040_888_963_407) % 2**63
    return Generator().manual_seed(seed)
