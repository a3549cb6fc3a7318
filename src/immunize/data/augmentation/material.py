"""What an augmentation is given and what it gives back: pairs in, new pairs with their origins out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from immunize.config import ConfigurationError
from immunize.data.loader import Pairs
from immunize.rng import keys

Options = Sequence[Sequence[Sequence[str]]]  # for each caption and each of its words: what may stand there instead
Propose = Callable[[Sequence[str], int], Options]
Describe = Callable[[str, UInt8[Tensor, "n 3 h w"], int, int], Sequence[Sequence[str]]]
Paint = Callable[[str, Sequence[str], int, int], UInt8[Tensor, "n 3 h w"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """`pairs` to augment, and the tools; what a model must do comes in as a function, because this room knows no models.

    rest: image id -> (id, caption) of its captions that `pairs` leaves out. propose(captions, k): the k likeliest words
    at each place. describe(weights, images, n, seed): captions of each image. paint(weights, captions, side, seed): a
    picture of each.
    """

    pairs: Pairs
    seed: int = 0
    rest: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    propose: Propose | None = None
    describe: Describe | None = None
    paint: Paint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """New pairs alone. `image_from[i]` and `caption_from[c]` are the ids of what each was made from, its own where it is given.

    known: whether the truth that stands with an image is that of its pixels, so that alignment can be checked exactly.
    """

    pairs: Pairs
    image_from: tuple[str, ...]
    caption_from: tuple[str, ...]
    known: bool = True


def missing(kind: str, what: str) -> ConfigurationError:
    """The error of an augmentation whose tool is not there: says which key, and what would help."""
    return ConfigurationError(f"augment: augmentations: kind {kind}: {what}")


def sparse(pairs: Pairs, captions: int | None) -> tuple[Pairs, dict[str, list[tuple[str, str]]]]:
    """The pairs with the first `captions` of each image (None: all), and what was left out, by image id."""
    owner = pairs.owner.tolist()
    rest: dict[str, list[tuple[str, str]]] = {image_id: [] for image_id in pairs.image_ids}
    kept, seen = [], [0] * len(pairs)
    for c, image in enumerate(owner):
        seen[image] += 1
        if captions is None or seen[image] <= captions:
            kept.append(c)
        else:
            rest[pairs.image_ids[image]].append((pairs.caption_ids[c], pairs.captions[c]))
    fewer = replace(
        pairs,
        captions=tuple(pairs.captions[c] for c in kept),
        caption_ids=tuple(pairs.caption_ids[c] for c in kept),
        owner=pairs.owner[kept],
    )
    return fewer, rest


def stream(seed: int, identity: str) -> np.random.Generator:
    """Random numbers that follow the example: the same for the same id, whatever the order or the company."""
    return np.random.default_rng([seed, int(keys([identity]))])


def reworded(
    given: Material, kind: str, n: int, make: Callable[[int, np.random.Generator], str | None], by_image: bool = False
) -> Derived:
    """Up to `n` new captions from each given caption (`by_image`: for each image), none said twice of one image.

    make(c, rng): a new caption from caption (or image) c, None where there is none; asked at most 4 n times.
    """
    pairs = given.pairs
    sources = pairs.image_ids if by_image else pairs.caption_ids
    owners = list(range(len(pairs))) if by_image else pairs.owner.tolist()
    said: dict[int, set[str]] = defaultdict(set)
    for caption, image in zip(pairs.captions, pairs.owner.tolist()):
        said[image].add(caption)
    rows: list[tuple[int, str, str, str]] = []
    for c, (source, image) in enumerate(zip(sources, owners)):
        rng, found = stream(given.seed, f"{kind} {source}"), 0
        for _ in range(4 * n):
            new = make(c, rng) if found < n else None
            if new and new not in said[image]:
                said[image].add(new)
                rows.append((image, new, f"{source}~{kind}{found}", source))
                found += 1
    return with_captions(pairs, rows)


def with_captions(pairs: Pairs, rows: Sequence[tuple[int, str, str, str]]) -> Derived:
    """The same images with these captions alone, in order of images: (image, caption, its id, the id it was made from)."""
    new = replace(
        pairs,
        captions=tuple(row[1] for row in rows),
        owner=torch.tensor([row[0] for row in rows], dtype=torch.int64),
        caption_ids=tuple(row[2] for row in rows),
    )
    return Derived(pairs=new, image_from=pairs.image_ids, caption_from=tuple(row[3] for row in rows))


def redrawn(
    given: Material, kind: str, n: int, make: Callable[[UInt8[Tensor, "3 h w"]], UInt8[Tensor, "3 h w"]]
) -> Derived:
    """`n` new pictures from each given one, each with all the captions of the old; torch's seed follows the image id.

    What was true of the old need not be true of the new pixels: `known` is False.
    """
    pairs = given.pairs
    ids = [(i, f"{image_id}~{kind}{j}") for i, image_id in enumerate(pairs.image_ids) for j in range(n)]
    images = torch.empty((len(ids), *pairs.images.shape[1:]), dtype=torch.uint8)
    with torch.random.fork_rng(devices=[]):
        seeds = keys([f"{given.seed} {new_id}" for _, new_id in ids]).tolist()
        for row, ((i, _), seed) in enumerate(zip(ids, seeds)):
            torch.manual_seed(seed)  # the transforms take no generator
            images[row] = make(pairs.images[i])
    own: dict[int, list[int]] = defaultdict(list)
    for c, image in enumerate(pairs.owner.tolist()):
        own[image].append(c)
    return with_images(
        pairs, images, [(new_id, pairs.image_ids[i], pairs.truth[i], own[i]) for i, new_id in ids], known=False
    )


def with_images(
    pairs: Pairs,
    images: UInt8[Tensor, "n 3 h w"],
    rows: Sequence[tuple[str, str, str | None, Sequence[int]]],
    known: bool,
) -> Derived:
    """New images with captions of `pairs`: (its id, the id of what it was made from, its truth, which captions)."""
    shown = [(i, c) for i, row in enumerate(rows) for c in row[3]]
    new = Pairs(
        images=images,
        captions=tuple(pairs.captions[c] for _, c in shown),
        owner=torch.tensor([i for i, _ in shown], dtype=torch.int64),
        image_ids=tuple(row[0] for row in rows),
        caption_ids=tuple(f"{rows[i][0]}#{pairs.caption_ids[c]}" for i, c in shown),
        truth=tuple(row[2] for row in rows),
    )
    origins = tuple(pairs.caption_ids[c] for _, c in shown)
    return Derived(pairs=new, image_from=tuple(row[1] for row in rows), caption_from=origins, known=known)


def only(new: Derived, kept: list[int]) -> Derived:
    """Images `kept`, ascending, with their captions."""
    place = {image: row for row, image in enumerate(kept)}
    captions = [(c, place[image]) for c, image in enumerate(new.pairs.owner.tolist()) if image in place]
    pairs = Pairs(
        images=new.pairs.images[kept],
        captions=tuple(new.pairs.captions[c] for c, _ in captions),
        owner=torch.tensor([row for _, row in captions], dtype=torch.int64),
        image_ids=tuple(new.pairs.image_ids[i] for i in kept),
        caption_ids=tuple(new.pairs.caption_ids[c] for c, _ in captions),
        truth=tuple(new.pairs.truth[i] for i in kept),
    )
    return Derived(
        pairs=pairs,
        image_from=tuple(new.image_from[i] for i in kept),
        caption_from=tuple(new.caption_from[c] for c, _ in captions),
        known=new.known,
    )
