"""Attacks made of attacks: the worst of several, one after the other, the same again; and the union of all there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Generator

from immunize.attacks.black_box import BlackBoxAttack
from immunize.attacks.image import ImageAttack
from immunize.attacks.joint import JointAttack
from immunize.attacks.text import TextAttack
from immunize.attacks.verdict import judged, unspent
from immunize.attacks.victim import bank_of
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_images, untouched
from immunize.objectives import margin
from immunize.rng import draw_seed
from immunize.threats import Edits


@frozen
class Worst:
    """Each image with its captions as that attack left them whose margin is the largest, hence fooled if by any.

    attacks: all start from the clean batch, with seeds of their own. stop: an attack sees only the images that none
    before it has fooled, so put the cheap ones first. targeted: fooled means that `Batch.targets` ranks first. The margin
    is that of the model against all other texts as they were before the attack (whatever the attacks' own objectives), so
    that no image's choice depends on another's.
    """

    attacks: Annotated[tuple[Attack, ...], Field(min_length=1)]
    stop: bool = False
    targeted: bool = False
    kind: Literal["worst"] = "worst"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return _worst(self.attacks, self.stop, self.targeted, model, batch, rng)


@frozen
class Restarts:
    """The worst of `times` runs of one attack, each with a fresh seed; `stop` and `targeted` as in `Worst`."""

    attack: Attack
    times: Annotated[int, Field(ge=1)] = 5
    stop: bool = False
    targeted: bool = False
    kind: Literal["restarts"] = "restarts"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return _worst([self.attack] * self.times, self.stop, self.targeted, model, batch, rng)


@frozen
class Then:
    """One attack after the other, each from where the last one ended: (image, text) is image -> text.

    Raises ValueError where two of them change the same modality: the second would count its threat from what the first
    had done, and leave the first one's.
    """

    attacks: Annotated[tuple[Attack, ...], Field(min_length=1)]
    kind: Literal["then"] = "then"

    def __post_init__(self) -> None:
        changed = [name for attack in self.attacks for name in modalities(attack)]
        if len(set(changed)) < len(changed):
            raise ValueError(f"attacks: one attack a modality, and here they change {', '.join(changed)}")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        for attack in self.attacks:
            batch = attack(model, batch, rng)
        return batch


Composed = Worst | Restarts | Then
Attack = Annotated[ImageAttack | BlackBoxAttack | TextAttack | JointAttack | Composed, Field(discriminator="kind")]


def parts(attack: Any) -> Iterator[Any]:
    """The attack itself and every attack that it is made of."""
    if isinstance(attack, tuple):
        for one in attack:
            yield from parts(one)
    elif is_dataclass(attack) and any(field.name == "kind" for field in fields(attack)):
        yield attack
        for field in fields(attack):
            yield from parts(getattr(attack, field.name))


def modalities(attack: Any) -> list[str]:
    """What an attack changes, by the threats of its parts: images, captions, or both."""
    holders = (part for part in parts(attack) if any(field.name == "threat" for field in fields(part)))
    return sorted({"captions" if isinstance(part.threat, Edits) else "images" for part in holders})


def _worst(
    attacks: Sequence[Any], stop: bool, targeted: bool, model: DualEncoder, batch: Batch, rng: Generator
) -> Batch:
    seed, rows = draw_seed(rng), torch.arange(len(batch), device=batch.images.device)
    value, found, spent = torch.full_like(rows, -torch.inf, dtype=torch.float32), batch, unspent(batch)
    with untouched(model):
        for k, attack in enumerate(attacks):
            left = rows[value <= 0] if stop else rows
            if not len(left):
                break
            part = attack(model, batch.take(left), Generator().manual_seed(seed + k))
            reached = margin(encode_images(model, part.images), bank_of(model, part, targeted))
            better = reached > value[left]
            found = found.put(left[better], part.take(better.nonzero().flatten()))
            value = value.index_copy(0, left[better], reached[better])
            texts = part.outcome.texts + part.owner.bincount(minlength=len(part))
            spent = spent.put(left, replace(part.outcome, forwards=part.outcome.forwards + 1, texts=texts))
    return judged(model, replace(found, outcome=spent.after(batch.outcome)), targeted)
