"""BERT-Attack for an image-text pair: replace the words that matter most by the substitute that hurts most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Generator

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.first_order import promising
from immunize.attacks.text.greedy import Options, check, embedder, greedy, reach, suggestions
from immunize.attacks.text.importance import ranked
from immunize.attacks.text.rules import Place
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed, keys
from immunize.threats import Edits


@frozen
class BertAttack:
    """argmax over edits t' of -<f(x), g(t')>, words in order of importance (arXiv:2004.09984 sec. 3).

    The importance of a word is the objective once `mask` stands in its place, or (`importance: gradient`, far cheaper, for
    training) the gradient's length at its vectors. Then, in rounds r < `threat.words`: the `positions` + r most important
    words, less those already edited, get the `candidates` substitutes that the masked language model in `language`
    proposes at their own position, and `typos` misspellings (which, if not all, by the caption's id and `rng`). All that
    the threat allows are scored in one encoding and each caption takes its worst; with a `shortlist` so many of each place,
    those that promise most by one gradient at the original, as in HotFlip (arXiv:1712.06751): most encodings are saved. A
    caption whose every edit is refused or harmless stays as it is. The image is the batch's own. legacy_offset: each word
    gets the proposals of the piece before it, the first one those of [CLS], as in Co-Attack, SGA and what descends from
    them. cache: a file that keeps proposals.
    """

    threat: Edits
    language: str | None = None
    candidates: Annotated[int, Field(ge=0)] = 10
    typos: Annotated[int, Field(ge=0)] = 0
    positions: Annotated[int, Field(ge=1)] = 1
    importance: Literal["mask", "gradient"] = "mask"
    shortlist: Annotated[int, Field(ge=1)] | None = None
    mask: str = "[UNK]"
    legacy_offset: bool = False
    cache: str | None = None
    kind: Literal["bert_attack"] = "bert_attack"

    def __post_init__(self) -> None:
        check(self.threat, self.language)

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return self.edit(model, batch, None, rng)

    def edit(self, model: DualEncoder, batch: Batch, guide: Embedding | None, rng: Generator) -> Batch:
        """The captions away from `guide`, one vector an image; None: from the images."""
        start = (keys(batch.caption_ids) ^ draw_seed(rng)).tolist()  # which typos a caption meets, when not all
        with Draft.of(model, batch, self.threat, guide, embedder(self.threat, self.language)) as draft:
            options = suggestions(
                draft, self.language, self.cache, self.candidates, self.typos, start, self.legacy_offset
            )
            order = ranked(draft, draft.rules.open(), self.mask if self.importance == "mask" else None)
            greedy(draft, order, self._short(draft, order, options), self.positions)
            return draft.finish()

    def _short(self, draft: Draft, order: Sequence[Place], options: Options) -> Options:
        if self.shortlist is None:
            return options
        choices = {place: draft.rules.kept(place, options(place)) for place in reach(draft, order, self.positions)}
        found = promising(draft, choices, self.shortlist)
        return lambda place: found.get(place, ())
