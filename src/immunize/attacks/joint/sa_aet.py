"""SA-AET: DRA near the clean image, and in the subspace where captions differ from one another."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.image.pgd import PGD
from immunize.attacks.joint.dra import blend
from immunize.attacks.joint.halves import Text
from immunize.attacks.joint.triangle import Triangle
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_captions
from immunize.objectives import OBJECTIVES, Bank
from immunize.rng import draw_seed


@frozen
class SAAET:
    """DRA with weights w(x_k) <= w(x_{k-1}) <= w(x) and features P f(x), P = U U^T of the captions (arXiv:2411.02669).

    U: the left singular vectors of the embeddings of the batch's captions and gallery but the first, which all captions
    share; so the attacker knows the gallery. At most `rank` of them (None: all). P is a projection, hence
    <P f(x), P g(t)> = <P f(x), g(t)>: both halves look at P f(x) alone. samples, guide, image: as in `DRA`.
    """

    text: Text
    image: PGD
    samples: Annotated[int, Field(ge=1)] = 5
    guide: tuple[float, float, float] = (0.6, 0.2, 0.2)
    rank: Annotated[int, Field(ge=1)] | None = None
    kind: Literal["sa_aet"] = "sa_aet"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        shared = subspace(encode_captions(model, (*batch.captions, *batch.gallery)), self.rank)
        edited = self.text(model, batch, rng)

        def objective(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
            return OBJECTIVES[self.image.objective](image.float() @ shared, bank)

        with Victim.of(model, edited, objective, self.image.targeted) as victim:
            triangle = Triangle(self.image, victim, draw_seed(rng), self.samples, ordered=True)
            best = self.image.search(victim, draw_seed(rng), rule=triangle)
            guide = blend(victim, torch.stack([victim.clean, best.x, triangle.last]), self.guide)
            attacked = victim.finish(edited, best)
        return self.text.edit(model, replace(attacked, captions=batch.captions), guide @ shared, rng)


def subspace(text: Embedding, rank: int | None = None) -> Float[Tensor, "d d"]:
    """The projection onto the singular directions of `text` but the first, `rank` of them at most."""
    _, sizes, directions = torch.linalg.svd(text.float(), full_matrices=False)
    kept = directions[1:][(sizes > sizes[0] * 1e-5)[1:]][:rank]
    return kept.T @ kept
