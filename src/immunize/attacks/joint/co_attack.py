"""Co-Attack: text first, then the image away from its own clean embedding and from the edited text's."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.image.pgd import PGD
from immunize.attacks.joint.halves import Text
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import Bank
from immunize.rng import draw_seed


@frozen
class CoAttack:
    """t' = text(t; x), then x' maximizes KL(f(x) || f(x')) + alpha KL(g(t') || f(x')) (arXiv:2206.09391).

    KL is between softmaxes over the dimensions of the embeddings; several captions of an image are averaged, so that
    `alpha` (published: 3) weighs the same. image: the ascent, whose own `objective` is not asked; best from a random
    start, since at x itself the first divergence and its gradient are 0. legacy: start at x + uniform [0, eps], as the
    published code does, instead of on both sides.
    """

    text: Text
    image: PGD
    alpha: Annotated[float, Field(ge=0)] = 3.0
    legacy: bool = False
    kind: Literal["co_attack"] = "co_attack"

    def __post_init__(self) -> None:
        if self.image.objective != "away" or self.image.targeted:
            raise ValueError("image.objective, image.targeted: co_attack has its own objective; leave both out")
        if self.legacy and (self.image.restarts > 1 or not self.image.random_start):
            raise ValueError("legacy: one random start on one side; leave image.restarts and image.random_start out")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        edited = self.text(model, batch, rng)
        seed = draw_seed(rng)
        with Victim.of(model, edited, self._away) as victim:
            with torch.no_grad():
                anchor = victim.embed(victim.clean, victim.all)
            victim.bank = replace(victim.bank, anchor=anchor)
            start = None
            if self.legacy:
                noise = self.image.threat.sample(victim.clean, victim.keys, seed) - victim.clean
                start = self.image.threat.project(victim.clean + noise.abs(), victim.clean)
            return victim.finish(edited, self.image.search(victim, seed, start))

    def _away(self, image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
        assert bank.anchor is not None
        own = bank.own / bank.own.sum(dim=1, keepdim=True).clamp(min=1)
        entropy, found = _entropy(bank.text), image.float().log_softmax(dim=1)
        from_text = -own @ entropy - (own @ bank.text.float().softmax(dim=1) * found).sum(dim=1)
        anchor = bank.anchor.float()
        from_clean = -_entropy(anchor) - (anchor.softmax(dim=1) * found).sum(dim=1)
        return from_clean + self.alpha * from_text


def _entropy(embedding: Embedding) -> Float[Tensor, " n"]:
    """-sum p log p of p = softmax over the dimensions."""
    log = embedding.float().log_softmax(dim=1)
    return -(log.exp() * log).sum(dim=1)
