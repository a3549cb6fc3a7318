"""HotFlip for an image-text pair: one gradient ranks every word of a vocabulary for every place, the best are tried."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Generator

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.first_order import leading
from immunize.attacks.text.greedy import check, embedder
from immunize.attacks.text.typos import typos
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models import language
from immunize.models.dual_encoder import DualEncoder
from immunize.threats import Edits


@frozen
class HotFlip:
    """argmax over flips of <E[new] - E[old], d -<f(x), g(t)> / d E[old]>, the best tried (arXiv:1712.06751 sec. 2.2, 5).

    In each of `threat.words` rounds one pass forth and back prices all substitutes that the threat allows at all words not
    edited yet: the whole words in the vocabulary of the masked language model in `language`, and with `typos` every
    misspelling. The `tries` best of each caption are scored exactly, and it takes its worst. A substitute of more or fewer
    pieces than the word is priced as stretched to as many, by repeating or averaging them.
    """

    threat: Edits
    language: str | None = None
    typos: bool = False
    tries: Annotated[int, Field(ge=1)] = 10
    kind: Literal["hot_flip"] = "hot_flip"

    def __post_init__(self) -> None:
        check(self.threat, self.language)
        if self.language is None and not self.typos:
            raise ValueError("language: name a masked language model for its vocabulary, or ask for `typos`")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return self.edit(model, batch, None, rng)

    def edit(self, model: DualEncoder, batch: Batch, guide: Embedding | None, rng: Generator) -> Batch:
        """The captions away from `guide`, one vector an image; None: from the images. Nothing is random."""
        vocabulary = () if self.language is None else language.load(self.language).whole_words
        with Draft.of(model, batch, self.threat, guide, embedder(self.threat, self.language)) as draft:
            original, budget = draft.rules.original, draft.rules.budget
            choices = draft.rules.choices(
                draft.rules.open(), lambda word: (*vocabulary, *(typos(word) if self.typos else ()))
            )
            for round_ in range(max(budget, default=0)):
                open_ = {
                    (caption, position): options
                    for (caption, position), options in choices.items()
                    if round_ < budget[caption] and draft.words[caption][position] == original[caption][position]
                }
                draft.improve(draft.allowed(leading(draft, open_, self.tries)))
            return draft.finish()
