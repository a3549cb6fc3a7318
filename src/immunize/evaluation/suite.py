"""One model under each attack: what happened to every image and caption, scored after 8-bit quantization."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from immunize.attacks import Attack
from immunize.attacks.victim import bank_of
from immunize.batch import Batch, Embedding, Outcome
from immunize.data.loader import Pairs
from immunize.metrics.retrieval import Ranks, ranks
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import margin
from immunize.progress import Record, watch


class Scored(NamedTuple):
    """Ranks in both directions, all images and captions being the gallery, and each pair's cosine."""

    ranks: Ranks
    similarity: Float[Tensor, " c"]


class Claims(NamedTuple):
    """What an attack says of itself, beside the margins before and after the rounding to 8 bits.

    Above 0 an image is fooled or, where it has a target, led to it.
    """

    outcome: Outcome
    exact: Float[Tensor, " b"]
    rounded: Float[Tensor, " b"]


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
) -> Iterator[Attacked]:
    """Each attack on the first `sample` images (all), `block` at a time, with all as the gallery; None is the clean data.

    Every attack starts from the clean pairs and the same seed, and sees each image with all its captions. The block
    changes no result, but where an objective has negatives (`infonce`) these are the captions of the block.
    """
    still = encode_images(model, pairs.images.to(model.device))
    before = score(model, pairs, still)
    count = len(pairs) if sample is None else min(sample, len(pairs))
    for name, attack in attacks.items():
        if attack is None:
            yield Attacked(
                pairs=pairs,
                clean=pairs,
                before=before,
                after=before,
                count=len(pairs),
                name=name,
                attack=None,
                seconds=0.0,
            )
            continue
        after, claims, seconds = perturbed(model, attack, pairs, seed, block, count, name)
        moved = torch.cat([encode_images(model, after.images[:count].to(model.device)), still[count:]])
        yield Attacked(
            pairs=after,
            clean=pairs,
            before=before,
            after=score(model, after, moved),
            count=count,
            name=name,
            attack=attack,
            seconds=seconds,
            claims=claims,
        )


class Perturbed(NamedTuple):
    """Pairs after an attack, what it says it did, and the seconds that it took."""

    pairs: Pairs
    claims: Claims | None
    seconds: float


def perturbed(
    model: DualEncoder, attack: Attack, pairs: Pairs, seed: int, block: int, count: int, label: str
) -> Perturbed:
    """The pairs after the attack on the first `count` images, which are rounded (not truncated) to 8 bits."""
    batches = (pairs.batch(index, whole=True) for index in torch.arange(count).split(block))
    found = under(model, attack, batches, seed, count, label)
    images = torch.cat([found.images, pairs.images[count:]])
    captions = (*found.captions, *pairs.captions[len(found.captions) :])
    return Perturbed(replace(pairs, images=images, captions=captions), found.claims, found.seconds)


class Found(NamedTuple):
    """What an attack made of some batches, one after the other."""

    images: UInt8[Tensor, "n 3 h w"]
    captions: tuple[str, ...]
    claims: Claims | None
    seconds: float


def under(model: DualEncoder, attack: Attack, batches: Iterable[Batch], seed: int, count: int, label: str) -> Found:
    """Each batch under the attack with the same seed, `count` images in all; only the attack's own time is counted."""
    images: list[Tensor] = []
    captions: list[str] = []
    claims: list[Claims] = []
    seconds: list[float] = []

    def attacked() -> Iterator[Record]:
        for batch in batches:
            batch, start = batch.to(model.device), time.perf_counter()
            found = attack(model, batch, Generator().manual_seed(seed))
            images.append(quantized(found.images))  # waits for the device, so that the clock tells the truth
            seconds.append(time.perf_counter() - start)
            captions.extend(found.captions)
            claims.extend(_claims(model, found, images[-1]))
            yield {"step": sum(map(len, images))}

    for _ in watch(attacked(), count, label, "images"):
        pass
    return Found(torch.cat(images), tuple(captions), _joined(claims) if claims else None, sum(seconds))


def quantized(images: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """round(255 x) as 8-bit integers."""
    return (images * 255).round().to(torch.uint8).cpu()


def score(model: DualEncoder, pairs: Pairs, image: Embedding | None = None) -> Scored:
    """The pairs' ranks and cosines; `image` are the embeddings of their images, if known."""
    image = encode_images(model, pairs.images.to(model.device)) if image is None else image
    text, owner = encode_captions(model, pairs.captions), pairs.owner.to(model.device)
    return Scored(ranks(image, text, owner), (image[owner] * text).sum(dim=1).cpu())


def _claims(model: DualEncoder, found: Batch, rounded: UInt8[Tensor, "b 3 h w"]) -> Iterator[Claims]:
    if found.outcome is None:
        return
    bank = bank_of(model, found, targeted=bool(found.targets))
    exact, after = (margin(encode_images(model, x.to(model.device)), bank).cpu() for x in (found.images, rounded))
    yield Claims(found.outcome, exact, after)


def _joined(claims: Sequence[Claims]) -> Claims:
    """The claims of all blocks as one, on the CPU."""
    outcomes = [one.outcome for one in claims]
    costs = {
        name: torch.cat([getattr(outcome, name).cpu() for outcome in outcomes])
        for name in ("success", "value", "forwards", "backwards", "texts")
    }
    reasons = dict.fromkeys(reason for outcome in outcomes for reason in outcome.rejected)
    rejected = {
        reason: torch.cat([o.rejected.get(reason, torch.zeros_like(o.forwards)).cpu() for o in outcomes])
        for reason in reasons
    }
    exact, rounded = (torch.cat([getattr(one, name) for one in claims]) for name in ("exact", "rounded"))
    return Claims(Outcome(**costs, rejected=rejected), exact, rounded)
