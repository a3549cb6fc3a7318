"""One model under each attack: what happened to every image and caption, scored after 8-bit quantization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.attacks import Attack
from immunize.batch import Embedding
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import Claims, Finds, Found, here
from immunize.metrics.retrieval import Ranks, ranks
from immunize.models import DualEncoder
from immunize.models.dual_encoder import Facing
from immunize.models.encode import encode_captions, encode_images
from immunize.models.remembering import Remembering


class Scored(NamedTuple):
    """Ranks in both directions, all images and captions being the gallery, and each pair's cosine."""

    ranks: Ranks
    similarity: Float[Tensor, " c"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """The pairs as the attack left them, the images rounded to 8 bits as a file would hold them, and their scores.

    `count`: how many images, the first ones, were attacked; the others are clean and stand in the gallery.
    """

    pairs: Pairs
    clean: Pairs
    before: Scored
    after: Scored
    count: int
    name: str
    attack: Attack | None
    seconds: float
    claims: Claims | None = None

    @property
    def captions(self) -> int:
        """How many captions belong to the attacked images."""
        return int((self.clean.owner < self.count).sum())


def evaluate(
    model: DualEncoder,
    attacks: Mapping[str, Attack | None],
    pairs: Pairs,
    *,
    seed: int = 0,
    block: int = 100,
    sample: int | None = None,
    find: Finds | None = None,
) -> Iterator[Attacked]:
    """Each attack on the first `sample` images (all), `block` at a time, with all as the gallery; None is the clean data.

    Every attack starts from the clean pairs and the same seed, and sees each image with all its captions. The block
    changes no result, but where an objective has negatives (`infonce`) these are the captions of the block. `find`: who
    attacks (`shards.fanned`; this process); all attacks are over before the first is scored, here, in the whole gallery.
    """
    count = len(pairs) if sample is None else min(sample, len(pairs))
    resting = facing(model, pairs, count)
    still = encode_images(resting, pairs.images.to(model.device))
    before = score(resting, pairs, still)
    found = (find or partial(here, model, pairs, seed=seed, block=block))(real(attacks), count)
    for name, attack in attacks.items():
        if attack is None:
            yield untouched(name, pairs, before)
            continue
        one = found[name]
        after = changed(pairs, one)
        answering = facing(model, after, count)
        moved = encode_images(answering, one.images.to(model.device))
        others = pairs.images[count:].to(model.device)
        rest = still[count:] if answering is resting else encode_images(answering, others)
        yield Attacked(
            pairs=after,
            clean=pairs,
            before=before,
            after=score(answering, after, torch.cat([moved, rest])),
            count=count,
            name=name,
            attack=attack,
            seconds=one.seconds,
            claims=one.claims,
        )


def untouched(name: str, pairs: Pairs, scored: Scored) -> Attacked:
    """The clean pairs, as a result like any other."""
    return Attacked(
        pairs=pairs, clean=pairs, before=scored, after=scored, count=len(pairs), name=name, attack=None, seconds=0.0
    )


def facing(model: DualEncoder, pairs: Pairs, count: int) -> DualEncoder:
    """What answers once the first `count` images have come in, each with its first caption; most models: they themselves.

    Who attacks a model that adapts sees it at rest, before any of this (`adaptive` evaluates what sees more).
    """
    inner = model.model if isinstance(model, Remembering) else model
    if not isinstance(inner, Facing):
        return model
    first = torch.searchsorted(pairs.owner, torch.arange(count)).tolist()
    images = (pairs.images[:count].float() / 255).to(model.device)
    return Remembering(inner.facing(images, [pairs.captions[c] for c in first]))


def real(attacks: Mapping[str, Attack | None]) -> dict[str, Attack]:
    """Those that attack: clean data is not found but given."""
    return {name: attack for name, attack in attacks.items() if attack is not None}


def changed(pairs: Pairs, one: Found) -> Pairs:
    """The pairs, of which the first images and their captions are those found, 8-bit as a file would hold them."""
    images = torch.cat([one.images, pairs.images[len(one.images) :]])
    captions = (*one.captions, *pairs.captions[len(one.captions) :])
    return replace(pairs, images=images, captions=captions)


def score(model: DualEncoder, pairs: Pairs, image: Embedding | None = None) -> Scored:
    """The pairs' ranks and cosines; `image` are the embeddings of their images, if known."""
    image = encode_images(model, pairs.images.to(model.device)) if image is None else image
    text, owner = encode_captions(model, pairs.captions), pairs.owner.to(model.device)
    return Scored(ranks(image, text, owner), (image[owner] * text).sum(dim=1).cpu())
