"""TextFooler for an image-text pair: synonyms from a table, the words whose loss hurts most first."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Generator

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.greedy import Place, check, embedder, greedy
from immunize.attacks.text.importance import ranked
from immunize.attacks.text.synonyms import listed, neighbors
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.threats import Edits


@frozen
class TextFooler:
    """argmax over synonyms t' of -<f(x), g(t')>, words in order of importance (arXiv:1907.11932 alg. 1).

    The importance of a word is the objective once it is left out. Then as BERT-Attack: in rounds r < `threat.words` the
    `positions` + r most important words, less those already edited, get all their synonyms that the threat allows, and
    each caption takes its worst. synonyms: a YAML mapping of words to lists, or lines `word synonym synonym ...`. vectors:
    a table of word vectors, lines `word number number ...`, of which the `neighbors` nearest words at a cosine of `cosine`
    or more are synonyms. The paper's constraints are `threat.part_of_speech` and `threat.similarity`, under `language`.
    """

    threat: Edits
    synonyms: str | None = None
    vectors: str | None = None
    neighbors: Annotated[int, Field(ge=1)] = 50
    cosine: float = 0.7
    positions: Annotated[int, Field(ge=1)] = 1
    language: str | None = None
    kind: Literal["text_fooler"] = "text_fooler"

    def __post_init__(self) -> None:
        check(self.threat, self.language)
        if self.synonyms is None and self.vectors is None:
            raise ValueError("synonyms: name a file of synonyms, or a table of word vectors in `vectors`")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return self.edit(model, batch, None, rng)

    def edit(self, model: DualEncoder, batch: Batch, guide: Embedding | None, rng: Generator) -> Batch:
        """The captions away from `guide`, one vector an image; None: from the images. Nothing is random."""
        with Draft.of(model, batch, self.threat, guide, embedder(self.threat, self.language)) as draft:
            greedy(draft, ranked(draft, draft.rules.open(), ""), lambda place: self._of(draft, place), self.positions)
            return draft.finish()

    def _of(self, draft: Draft, place: Place) -> tuple[str, ...]:
        word = draft.rules.original[place[0]][place[1]].lower()
        by_hand = listed(self.synonyms).get(word, ()) if self.synonyms else ()
        near = neighbors(self.vectors, self.neighbors, self.cosine).get(word, ()) if self.vectors else ()
        return (*by_hand, *near)
