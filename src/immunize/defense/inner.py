"""The inner maximization: any attack, or the one that needs to know the model as it was before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks import PGD, Attack
from immunize.attacks.joint.halves import Text
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models import Clip, DualEncoder
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import Bank
from immunize.rng import draw_seed
from immunize.threats import Ball

T = TypeVar("T")


@frozen
class Drift:
    """x' = argmax ||f(x') - f0(x)||^2, t' = argmax ||g(t') - g0(t)||^2, f0 and g0 the model before training.

    image: the ascent of FARE (arXiv:2402.12336 eq. 3), whose own `objective` is not asked; from a random start, for before
    the first step the gradient at x is 0. text: an attack on captions, LEAF's own being `leaf` (arXiv:2506.03355); away
    from g0(t) on the unit sphere is away from the least product with it. Without one of them that half stays clean.
    """

    image: PGD | None = None
    text: Text | None = None
    kind: Literal["drift"] = "drift"

    def __post_init__(self) -> None:
        if self.image is None and self.text is None:
            raise ValueError("image, text: name an attack on one of the two")
        if self.image is not None and (self.image.objective != "away" or self.image.targeted):
            raise ValueError("image.objective, image.targeted: drift has its own objective; leave both out")

    def __call__(self, model: DualEncoder, reference: Clip, batch: Batch, rng: Generator) -> Batch:
        """The batch moved away from where `reference` has it; the model is left as it was."""
        edited = batch if self.text is None else _edited(self.text, model, reference, batch, rng)
        if self.image is None:
            return edited
        seed = draw_seed(rng)
        with Victim.of(model, batch, _far) as victim:
            victim.bank = replace(victim.bank, anchor=encode_images(reference, batch.images))
            return victim.finish(edited, self.image.search(victim, seed))


Inner = Annotated[Attack | Drift, Field(discriminator="kind")]


def scaled(attack: T, factor: float) -> T:
    """The attack with the radius of every ball in it multiplied by `factor`: a curriculum's smaller threat."""
    return mapped(attack, lambda part: replace(part, eps=part.eps * factor) if isinstance(part, Ball) else None)


def mapped(attack: T, change: Callable[[Any], Any]) -> T:
    """The attack with each part replaced by what `change` makes of it; where that is None, its own parts are looked at."""
    changed = change(attack)
    if changed is not None:
        return changed
    if isinstance(attack, tuple):
        return type(attack)(mapped(part, change) for part in attack)
    if not is_dataclass(attack) or isinstance(attack, type):
        return attack
    found: Any = {field.name: mapped(getattr(attack, field.name), change) for field in fields(attack)}
    return replace(attack, **found)


def _far(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
    assert bank.anchor is not None
    return (image.float() - bank.anchor.float()).square().sum(dim=1)


def _edited(attack: Any, model: DualEncoder, reference: Clip, batch: Batch, rng: Generator) -> Batch:
    """Each caption away from its own reference embedding: a guide is one vector an image, so each caption gets an image."""
    owner = batch.owner.tolist()
    single = Batch(
        images=batch.images[batch.owner],
        captions=batch.captions,
        owner=torch.arange(len(owner), device=batch.owner.device),
        image_ids=tuple(batch.image_ids[i] for i in owner),
        caption_ids=batch.caption_ids,
        truth=tuple(batch.truth[i] for i in owner) if batch.truth else (),
    )
    found = attack.edit(model, single, encode_captions(reference, batch.captions), rng)
    return replace(batch, captions=found.captions, originals=batch.originals or batch.captions)
