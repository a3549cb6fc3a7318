"""BERT-Attack for an image-text pair: replace the words that matter most by the substitute that hurts most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.text.importance import Words, by_gradient, by_masking
from immunize.attacks.text.typos import some_typos
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models import language
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_captions, encode_images, untouched
from immunize.rng import draw_seed, keys
from immunize.threats import Edits


class Edit(NamedTuple):
    """Caption number `caption` with the word at `position` replaced by `substitute`."""

    caption: int
    position: int
    substitute: str


@frozen
class BertAttack:
    """argmax over edits t' of -<f(x), g(t')>, words in order of importance (arXiv:2004.09984 sec. 3).

    The importance of a word is the objective once `mask` stands in its place, or (`importance: gradient`, far cheaper, for
    training) the gradient's length at its vectors. Then, in rounds r < `threat.words`: the `positions` + r most important
    words, less those already edited, get the `candidates` substitutes that the masked language model in `language`
    proposes at their own position, and `typos` misspellings (which, if not all, by the caption's id and `rng`). All that
    the threat allows are scored in one encoding and each caption takes its worst. A caption whose every edit is refused or
    harmless stays as it is. The image is the batch's own.
    """

    threat: Edits
    language: str | None = None
    candidates: Annotated[int, Field(ge=0)] = 10
    typos: Annotated[int, Field(ge=0)] = 0
    positions: Annotated[int, Field(ge=1)] = 1
    importance: Literal["mask", "gradient"] = "mask"
    mask: str = "[UNK]"
    kind: Literal["bert_attack"] = "bert_attack"

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        words = [tuple(caption.split()) for caption in batch.captions]
        edited: list[set[int]] = [set() for _ in words]
        start = (keys(batch.caption_ids) ^ draw_seed(rng)).tolist()  # which typos a caption meets, when not all
        with untouched(model), torch.no_grad():
            image = encode_images(model, batch.images)[batch.owner]
            value = -(image * encode_captions(model, batch.captions)).sum(dim=1)
            order = self._order(model, image, words) if self.threat.words else []
            for round_ in range(self.threat.words):
                edits = self._allowed(batch, words, _leading(order, edited, self.positions + round_), start)
                for (caption, position, substitute), score in _best(
                    edits, self._score(model, image, words, edits), value
                ):
                    words[caption] = (*words[caption][:position], substitute, *words[caption][position + 1 :])
                    edited[caption].add(position)
                    value[caption] = score
        captions = tuple(" ".join(w) if e else c for w, e, c in zip(words, edited, batch.captions))
        return replace(batch, captions=captions)

    def _order(self, model: DualEncoder, image: Embedding, words: Sequence[Words]) -> list[tuple[int, int]]:
        """(caption, word) of every editable word, the most important first."""
        at = [
            (c, p) for c, sentence in enumerate(words) for p, word in enumerate(sentence) if self.threat.editable(word)
        ]
        if not at:
            return []
        masking = self.importance == "mask"
        scores = by_masking(model, image, words, at, self.mask) if masking else by_gradient(model, image, words, at)
        return [at[i] for i in scores.argsort(descending=True, stable=True).tolist()]

    def _allowed(
        self, batch: Batch, words: Sequence[Words], at: Sequence[tuple[int, int]], start: Sequence[int]
    ) -> list[Edit]:
        """The substitutes of those words that the threat allows."""
        proposals = self._proposals(batch.captions)
        owner = batch.owner.tolist()
        edits = []
        for caption, position in at:
            word, truth = words[caption][position], batch.truth[owner[caption]] if batch.truth else None
            found = (*proposals[caption][position], *some_typos(word.lower(), self.typos, start[caption] + position))
            allowed = (new for new in dict.fromkeys(found) if self.threat.allows(word, new, truth))
            edits += [Edit(caption, position, new) for new in allowed]
        return self._similar(batch.captions, words, edits)

    def _proposals(self, captions: Sequence[str]) -> Sequence[Sequence[Sequence[str]]]:
        if self.language is None or not self.candidates:
            return [[()] * len(caption.split()) for caption in captions]
        return language.load(self.language).substitutes(captions, self.candidates)

    def _similar(self, captions: Sequence[str], words: Sequence[Words], edits: Sequence[Edit]) -> list[Edit]:
        """The edits whose sentence embedding stays within `threat.similarity` of the original caption's."""
        if self.threat.similarity is None or self.language is None or not edits:
            return list(edits)
        embed = language.load(self.language).embed
        original = embed(captions)[torch.tensor([edit.caption for edit in edits])]
        close = (original * embed(_texts(words, edits))).sum(dim=1) >= self.threat.similarity
        return [edit for edit, keep in zip(edits, close.tolist()) if keep]

    def _score(
        self, model: DualEncoder, image: Embedding, words: Sequence[Words], edits: Sequence[Edit]
    ) -> Float[Tensor, " e"]:
        """-<f(x), g(t')> of each edit, from one encoding of all of them."""
        if not edits:
            return torch.empty(0, device=image.device)
        text = encode_captions(model, _texts(words, edits))
        return -(image[torch.tensor([edit.caption for edit in edits], device=image.device)] * text).sum(dim=1)


def _leading(order: Sequence[tuple[int, int]], edited: Sequence[set[int]], count: int) -> list[tuple[int, int]]:
    """Each caption's `count` most important words, less those already edited."""
    chosen: dict[int, list[tuple[int, int]]] = {}
    for caption, position in order:
        chosen.setdefault(caption, []).append((caption, position))
    return [(c, p) for places in chosen.values() for c, p in places[:count] if p not in edited[c]]


def _texts(words: Sequence[Words], edits: Sequence[Edit]) -> list[str]:
    return [" ".join((*words[c][:position], new, *words[c][position + 1 :])) for c, position, new in edits]


def _best(
    edits: Sequence[Edit], scores: Float[Tensor, " e"], value: Float[Tensor, " c"]
) -> list[tuple[Edit, Float[Tensor, ""]]]:
    """For each caption its best edit, where that is better than the caption as it stands."""
    best: dict[int, int] = {}
    for index in scores.argsort(descending=True, stable=True).tolist():
        best.setdefault(edits[index].caption, index)
    return [(edits[i], scores[i]) for caption, i in best.items() if scores[i] > value[caption]]
