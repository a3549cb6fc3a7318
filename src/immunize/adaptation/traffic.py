"""Regimes as they would come in: the same pairs clean, attacked, and changed without malice."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator

from immunize.attacks import Attack
from immunize.batch import Batch
from immunize.config import frozen
from immunize.data.loader import Pairs
from immunize.models import DualEncoder
from immunize.threats.ball import Radius
from immunize.verification import examples
from immunize.verification.examples import Examples

CLEAN, SHIFT = "clean", "shift"


@frozen
class Shift:
    """A benign change of traffic: Gaussian noise (deviation in pixels of [0, 1]), then JPEG, and one misspelling a text."""

    noise: Radius = 2 / 255
    jpeg: int = 75


def traffic(
    model: DualEncoder,
    pairs: Pairs,
    attacks: Mapping[str, Attack],
    shift: Shift | None,
    seed: int,
    block: int = 100,
    *,
    victims: Mapping[str, DualEncoder] | None = None,
) -> dict[str, Batch]:
    """`clean`, each attack, and `shift`: each image with its first caption, ranked among all of these.

    Attacks see `model` and nothing that stands around it, but for those with a victim of their own in `victims`.
    Raises ValueError where an attack bears the name of another regime.
    """
    if taken := sorted({CLEAN, SHIFT} & attacks.keys()):
        raise ValueError(f"regimes: {', '.join(taken)} is made here, call yours something else")
    given, rng = examples.of(pairs), Generator().manual_seed(seed)
    found = {CLEAN: given}
    facing = {name: (victims or {}).get(name, model) for name in attacks}
    found |= {name: examples.attacked(facing[name], attack, given, rng, block) for name, attack in attacks.items()}
    if shift is not None:
        found[SHIFT] = examples.mistyped(
            examples.compressed(examples.noisy(given, shift.noise, seed), shift.jpeg), seed
        )
    return {name: batch(one) for name, one in found.items()}


def batch(given: Examples) -> Batch:
    """The examples as a batch of pairs."""
    return Batch(
        images=given.pixels,
        captions=given.texts,
        owner=torch.arange(len(given)),
        image_ids=given.image_ids,
        caption_ids=given.image_ids,
        truth=given.truth,
    )
