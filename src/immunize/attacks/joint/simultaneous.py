"""Image and text in one ascent: each gradient moves the pixels and the mixtures of words together."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from immunize.attacks.image.pgd import PGD, Point
from immunize.attacks.joint.halves import Text
from immunize.attacks.text.draft import Draft
from immunize.attacks.text.greedy import embedder
from immunize.attacks.text.relaxed import Relaxed
from immunize.attacks.text.relaxed_text import RelaxedText
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Embedding, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import Bank, cosines
from immunize.rng import draw_seed, keys


@frozen
class Simultaneous:
    """max over x', w of -<f(x'), g(sum_k w_k E[word_k])>, both from one gradient; then words, then the image alone.

    text: the mixtures, whose `steps` are the ones taken together (arXiv:2402.09154 for text alone). Afterwards each caption
    takes the best of its spelled-out mixtures, and image: goes on for its own `steps` from where it stands, against
    those. last: an attack on the original captions to end with, against x'. The order is ours, to answer whether
    it beats one half after the other (docs/methods/simultaneous.md).
    """

    text: Relaxed
    image: PGD
    last: Text | None = None
    kind: Literal["simultaneous"] = "simultaneous"

    def __post_init__(self) -> None:
        if self.image.objective != "away" or self.image.targeted:
            raise ValueError("image.objective, image.targeted: simultaneous moves pairs apart; leave both out")
        if self.image.restarts > 1:
            raise ValueError("image.restarts: the words go on from step to step; put the whole attack in `restarts`")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        together, relaxed = self._together(model, batch, rng)
        with Draft.of(model, together, self.text.threat, None, embedder(self.text.threat, self.text.language)) as draft:
            draft.improve(draft.rules.rewrites(relaxed.discretize()))
            edited = replace(draft.finish(), images=batch.images)
        with Victim.of(model, edited, self.image.objective) as victim:
            attacked = victim.finish(edited, self.image.search(victim, draw_seed(rng), together.images))
        if self.last is None:
            return attacked
        return self.last(model, replace(attacked, captions=batch.captions), rng)

    def _together(self, model: DualEncoder, batch: Batch, rng: Generator) -> tuple[Batch, RelaxedText]:
        """The images after `text.steps` steps, with all that was spent, and the mixtures as they stand."""
        start, image = (keys(batch.caption_ids) ^ draw_seed(rng)).tolist(), replace(self.image, steps=self.text.steps)
        with Draft.of(model, batch, self.text.threat, None) as draft:
            relaxed = RelaxedText(draft, self.text.choices(draft, start), self.text.lr, self.text.clip)
            relaxed.weights.requires_grad_()

            def apart(image: Embedding, bank: Bank) -> Float[Tensor, " n"]:
                text = relaxed.encode()
                return -(cosines(image.float(), text.float()) * bank.own[:, : len(text)]).sum(dim=1)

            def both(victim: Victim, at: Point) -> Signal:
                if len(relaxed):
                    (slope,) = torch.autograd.grad(at.value.sum(), relaxed.weights, retain_graph=True)
                    relaxed.ascend(slope, self.text.entropy * at.k / self.text.steps)
                    relaxed.weights.requires_grad_()
                return image.gradient(victim, at)

            with Victim.of(model, batch, apart) as victim:
                best = image.search(victim, draw_seed(rng), rule=both)
                return victim.finish(draft.finish(), best), relaxed
