"""Projected gradient ascent on mixtures of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.greedy import check, embedder, suggestions
from immunize.attacks.text.relaxed_text import RelaxedText
from immunize.attacks.text.rules import Place
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed, keys
from immunize.threats import Edits


@frozen
class Relaxed:
    """Ascent on -<f(x), g(sum_k w_k E[word_k])>, w on the simplex, words in between the candidates (arXiv:2402.09154).

    Each editable word becomes a mixture of itself and what the threat allows: the `candidates` proposals of the masked
    language model in `language`, and `typos` misspellings (which, if not all, by the caption's id and `rng`).
    `steps` times: Adam with `lr` on the gradient (of length `clip` at most for each word), projection
    onto the simplex, onto entropies below (1 - `entropy` k / steps) of the highest, and onto `threat.words` of mass moved.
    At each of the steps + 1 points each caption is spelled out with its leading words replaced, all that the budget pays
    for, fewer, and each of the `tries` leading ones alone; all are scored exactly and the best is kept. cache: a file that
    keeps proposals.
    """

    threat: Edits
    language: str | None = None
    candidates: Annotated[int, Field(ge=0)] = 10
    typos: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=0)] = 20
    lr: Annotated[float, Field(gt=0)] = 0.3
    entropy: Annotated[float, Field(ge=0, le=1)] = 0.4
    clip: Annotated[float, Field(gt=0)] = 20.0
    tries: Annotated[int, Field(ge=1)] = 4
    cache: str | None = None
    kind: Literal["relaxed"] = "relaxed"

    def __post_init__(self) -> None:
        check(self.threat, self.language)

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return self.edit(model, batch, None, rng)

    def edit(self, model: DualEncoder, batch: Batch, guide: Embedding | None, rng: Generator) -> Batch:
        """The captions away from `guide`, one vector an image; None: from the images."""
        start = (keys(batch.caption_ids) ^ draw_seed(rng)).tolist()
        with Draft.of(model, batch, self.threat, guide, embedder(self.threat, self.language)) as draft:
            relaxed = RelaxedText(draft, self.choices(draft, start), self.lr, self.clip)
            for k in range(self.steps + 1):
                draft.improve(draft.rules.rewrites(relaxed.discretize(self.tries)))
                if k < self.steps and len(relaxed):
                    relaxed.ascend(_slope(draft, relaxed), self.entropy * k / self.steps)
            return draft.finish()

    def choices(self, draft: Draft, start: Sequence[int]) -> dict[Place, tuple[str, ...]]:
        """What the threat allows at each place of what is on offer."""
        options = suggestions(draft, self.language, self.cache, self.candidates, self.typos, start)
        return {place: draft.rules.kept(place, options(place)) for place in draft.rules.open()}


def _slope(draft: Draft, relaxed: RelaxedText) -> Float[Tensor, "s k"]:
    """d -<guide, g(mixture)> / d weights."""
    with torch.enable_grad():
        relaxed.weights.requires_grad_()
        return torch.autograd.grad(-(draft.guide * relaxed.encode()).sum(), relaxed.weights)[0]
