"""One model under each attack: what happened to every image and caption, scored after 8-bit quantization."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from immunize.attacks import Attack
from immunize.batch import Batch
from immunize.config import dump
from immunize.data.loader import Pairs
from immunize.evaluation.results import Flag, Result
from immunize.metrics.retrieval import Ranks, ranks
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions, encode_images
from immunize.progress import Record, watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a result is about: the names and hashes that go into its file."""

    preset: str
    defense: str
    model_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """The pairs as the attack left them, the images rounded to 8 bits as a file would hold them.

    `count`: how many images, the first ones, were attacked; the others are clean and stand in the gallery.
    """

    pairs: Pairs
    clean: Pairs
    count: int
    name: str
    attack: Attack | None
    seconds: float

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
    for name, attack in attacks.items():
        start = time.perf_counter()
        count = len(pairs) if attack is None or sample is None else min(sample, len(pairs))
        yield Attacked(
            pairs=pairs if attack is None else perturbed(model, attack, pairs, seed, block, count, name),
            clean=pairs,
            count=count,
            name=name,
            attack=attack,
            seconds=time.perf_counter() - start,
        )


def perturbed(model: DualEncoder, attack: Attack, pairs: Pairs, seed: int, block: int, count: int, label: str) -> Pairs:
    """The pairs after the attack on the first `count` images, which are rounded (not truncated) to 8 bits."""
    parts: list[Batch] = []

    def attacked() -> Iterator[Record]:
        for index in torch.arange(count).split(block):
            parts.append(attack(model, pairs.batch(index, whole=True).to(model.device), Generator().manual_seed(seed)))
            yield {"step": int(index[-1]) + 1}

    for _ in watch(attacked(), count, label, "images"):
        pass
    captions = tuple(caption for part in parts for caption in part.captions)
    return replace(
        pairs,
        images=torch.cat([*(quantized(part.images) for part in parts), pairs.images[count:]]),
        captions=captions + pairs.captions[len(captions) :],
    )


def quantized(images: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """round(255 x) as 8-bit integers."""
    return (images * 255).round().to(torch.uint8).cpu()


def score(model: DualEncoder, pairs: Pairs) -> tuple[Ranks, Float[Tensor, " c"]]:
    """The ranks in both directions, all images and captions being the gallery, and each pair's cosine."""
    image, text = encode_images(model, pairs.images.to(model.device)), encode_captions(model, pairs.captions)
    owner = pairs.owner.to(model.device)
    return ranks(image, text, owner), (image[owner] * text).sum(dim=1).cpu()


def result(model: DualEncoder, attacked: Attacked, subject: Subject, seed: int, flags: list[Flag]) -> Result:
    """The record of one attack on one model, per attacked image and per caption of it."""
    before, after, images, captions = attacked.clean, attacked.pairs, attacked.count, attacked.captions
    found, similarity = score(model, after)
    change = (after.images[:images].int() - before.images[:images].int()).abs().flatten(1).amax(dim=1) / 255
    changed = [_changed_words(old, new) for old, new in zip(before.captions[:captions], after.captions)]
    return Result(
        preset=subject.preset,
        defense=subject.defense,
        attack=attacked.name,
        config={} if attacked.attack is None else dump(attacked.attack),
        seed=seed,
        data_hash=before.hash(),
        model_hash=subject.model_hash,
        image_ids=list(before.image_ids[:images]),
        caption_ids=list(before.caption_ids[:captions]),
        owner=before.owner[:captions].tolist(),
        image_rank=found.image[:images].tolist(),
        caption_rank=found.caption[:captions].tolist(),
        similarity=[round(value, 6) for value in similarity[:captions].tolist()],
        linf=[round(value, 6) for value in change.tolist()],
        changed_words=changed,
        counts={"captions_unchanged": changed.count(0), "images_unchanged": int((change == 0).sum())},
        flags=flags,
        seconds=round(attacked.seconds, 3),
        device=str(model.device),
    )


def _changed_words(before: str, after: str) -> int:
    return sum(old != new for old, new in zip(before.split(), after.split(), strict=True))
