"""A2 for text: a search over edits with the denoiser and the detector in the loop, and the image after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.greedy import check, embedder, greedy, suggestions
from immunize.attacks.text.importance import ranked
from immunize.attacks.text.rules import Rewrite, Rules
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.evaluation.adaptive.aware import Aware
from immunize.evaluation.adaptive.oblivious import chosen
from immunize.evaluation.adaptive.pipeline import Pipeline
from immunize.evaluation.adaptive.system import System
from immunize.evaluation.adaptive.target import Target
from immunize.models.encode import encode_captions, encode_images
from immunize.rng import draw_seed, keys
from immunize.threats import Edits

SURE = 1e4  # more than any logit: an edit that succeeds goes before all that do not


@frozen
class Wording:
    """argmax over edits t' of margin(x, t') - weight * suspicion(x, t'), what fools unflagged first (search: arXiv:2004.09984).

    The captions go through each action's own `tokenize`, so a text denoiser is in the loop, and so is the detector.
    language, candidates, typos, positions: as in `BertAttack`. actions: through which models (None: each); one candidate
    for each action and weight.
    """

    threat: Edits
    language: str | None = None
    candidates: Annotated[int, Field(ge=0)] = 10
    typos: Annotated[int, Field(ge=0)] = 8
    positions: Annotated[int, Field(ge=1)] = 2
    weights: tuple[float, ...] = (0.0, 1.0)
    actions: tuple[str, ...] | None = None
    kind: Literal["wording"] = "wording"

    def __post_init__(self) -> None:
        check(self.threat, self.language)

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        start = (keys(batch.caption_ids) ^ draw_seed(rng)).tolist()
        found = {}
        with Target.of(system, batch) as target, torch.no_grad():
            for action in chosen(target.system, self.actions):
                for weight in self.weights:
                    rules = Rules(self.threat, batch, embedder(self.threat, self.language))
                    draft = Guarded(target, action, weight, rules)
                    options = suggestions(draft, self.language, None, self.candidates, self.typos, start)
                    greedy(draft, ranked(draft, rules.open(), "[UNK]"), options, self.positions)
                    found[f"{action}, {weight:g}"] = draft.finish()
        return found


@frozen
class Both:
    """The image under each caption that `text` found: from its candidates, those of `image`."""

    text: Wording
    image: Aware | Pipeline
    kind: Literal["both"] = "both"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        found = {}
        for name, worded in self.text(system, batch, rng).items():
            for other, moved in self.image(system, worded, rng).items():
                found[f"{name}; {other}"] = moved
        return found


class Guarded(Draft):
    """The captions of a target's pairs under one action, each rewrite worth its margin less the suspicion it raises."""

    def __init__(self, target: Target, action: str, weight: float, rules: Rules) -> None:
        self.target, self.weight = target, weight
        bank = target.bank(action)
        image = encode_images(target.system.under(action), target.batch.images)
        self.rival = bank.logits(image).masked_fill(bank.own, -torch.inf).amax(dim=1)
        self.scale = bank.scale.float()
        Draft.__init__(self, target.system.under(action), target.batch, image, image, rules)

    def score(self, rewrites: Sequence[Rewrite]) -> tuple[Embedding, Float[Tensor, " r"]]:
        """g(t') and what it is worth, each encoded whole: a denoiser reads a caption, not its words."""
        if not rewrites:
            return self.guide[:0], self.guide.new_empty(0)
        caption = self.captions(rewrites)
        self.count(caption)
        texts = [" ".join(rewrite.words) for rewrite in rewrites]
        text = encode_captions(self.model, texts)
        margin = self.rival[caption] - self.scale * (self.guide[caption] * text).sum(dim=1)
        suspicion = self._suspicion(caption, texts)
        done = (margin > 0) & (suspicion <= self.target.system.threshold)
        return text, margin - self.weight * suspicion + SURE * done

    def _suspicion(self, caption: Tensor, texts: Sequence[str], block: int = 256) -> Float[Tensor, " r"]:
        """That of each rewrite with its image, so many at a time."""
        images = self.batch.images
        starts = range(0, len(texts), block)
        parts = [
            self.target.system.suspicion(images[caption[s : s + block]], texts[s : s + block]).float() for s in starts
        ]
        return torch.cat(parts)
