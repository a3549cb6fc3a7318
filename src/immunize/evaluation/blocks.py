"""An attack on images, a block at a time: each block by itself, and what was made of them joined in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from immunize.attacks import Attack
from immunize.attacks.victim import bank_of
from immunize.batch import Batch, Outcome
from immunize.data.loader import Pairs
from immunize.models import DualEncoder
from immunize.models.encode import encode_images
from immunize.models.remembering import Remembering
from immunize.objectives import margin
from immunize.progress import Record, watch

COSTS = ("success", "value", "forwards", "backwards", "texts")


class Claims(NamedTuple):
    """What an attack says of itself, beside the margins before and after the rounding to 8 bits.

    Above 0 an image is fooled or, where it has a target, led to it.
    """

    outcome: Outcome
    exact: Float[Tensor, " b"]
    rounded: Float[Tensor, " b"]


class Found(NamedTuple):
    """What an attack made of one block, or of several one after the other, and its own seconds.

    The images are rounded (not truncated) to 8 bits.
    """

    images: UInt8[Tensor, "n 3 h w"]
    captions: tuple[str, ...]
    claims: Claims | None
    seconds: float


Finds = Callable[[Mapping[str, Attack], int], Mapping[str, Found]]  # attacks, count: each on the first `count` images


def here(
    model: DualEncoder, pairs: Pairs, attacks: Mapping[str, Attack], count: int, *, seed: int, block: int
) -> dict[str, Found]:
    """Each attack on the first `count` images in this process, `block` at a time."""
    batches = (pairs.batch(index, whole=True) for index in torch.arange(count).split(block))
    found = (one for batch in batches for one in attacked(model, attacks, batch, seed))
    return gathered(found, attacks, count)


def attacked(model: DualEncoder, attacks: Mapping[str, Attack], batch: Batch, seed: int) -> Iterator[tuple[str, Found]]:
    """One block under one attack after the other, which depends on no other block: random numbers start from `seed`.

    So does the memory from the captions before any attack: an embedding's last bits depend on what was encoded beside it,
    and one remembered from another block would tell of that.
    """
    model = model.branch((*batch.captions, *batch.gallery)) if isinstance(model, Remembering) else model
    batch = batch.to(model.device)
    for name, attack in attacks.items():
        start = time.perf_counter()
        moved = attack(model, batch, Generator().manual_seed(seed))
        images = quantized(moved.images)  # waits for the device, so that the clock tells the truth
        seconds = time.perf_counter() - start
        yield name, Found(images, moved.captions, _claims(model, moved, images), seconds)


def gathered(found: Iterable[tuple[str, Found]], names: Iterable[str], count: int) -> dict[str, Found]:
    """The blocks of each name joined in the order in which they come, `count` images in all, shown meanwhile."""
    kept: dict[str, list[Found]] = {name: [] for name in names}

    def coming() -> Iterator[Record]:
        done = 0
        for name, one in found:
            kept[name].append(one)
            done += len(one.images)
            yield {"step": done}

    for _ in watch(coming(), count * len(kept), ", ".join(kept), "images"):
        pass
    return {name: joined(blocks) for name, blocks in kept.items()}


def joined(blocks: Sequence[Found]) -> Found:
    """The blocks as one, in order; its seconds are the sum of theirs."""
    return Found(
        images=torch.cat([one.images for one in blocks]),
        captions=tuple(caption for one in blocks for caption in one.captions),
        claims=_joined([one.claims for one in blocks if one.claims is not None]),
        seconds=sum(one.seconds for one in blocks),
    )


def quantized(images: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """round(255 x) as 8-bit integers."""
    return (images * 255).round().to(torch.uint8).cpu()


def _claims(model: DualEncoder, moved: Batch, rounded: UInt8[Tensor, "b 3 h w"]) -> Claims | None:
    """Those of one block, on the CPU."""
    said = moved.outcome
    if said is None:
        return None
    bank = bank_of(model, moved, targeted=bool(moved.targets))
    exact, after = (margin(encode_images(model, x.to(model.device)), bank).cpu() for x in (moved.images, rounded))
    costs = {name: getattr(said, name).cpu() for name in COSTS}
    rejected = {reason: count.cpu() for reason, count in said.rejected.items()}
    return Claims(Outcome(**costs, rejected=rejected), exact, after)


def _joined(claims: Sequence[Claims]) -> Claims | None:
    if not claims:
        return None
    outcomes = [one.outcome for one in claims]
    costs = {name: torch.cat([getattr(outcome, name) for outcome in outcomes]) for name in COSTS}
    reasons = dict.fromkeys(reason for outcome in outcomes for reason in outcome.rejected)
    rejected = {
        reason: torch.cat([o.rejected.get(reason, torch.zeros_like(o.forwards)) for o in outcomes])
        for reason in reasons
    }
    exact, rounded = (torch.cat([getattr(one, name) for one in claims]) for name in ("exact", "rounded"))
    return Claims(Outcome(**costs, rejected=rejected), exact, rounded)
