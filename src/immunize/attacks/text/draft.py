"""The captions of a batch while they are edited: what each is worth, and what it cost to find out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.attacks.text.rules import Edit, Embed, Rewrite, Rules, Words
from immunize.attacks.victim import bank_of
from immunize.batch import Batch, Embedding, Outcome
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_captions, encode_images, untouched
from immunize.models.remembering import Remembering
from immunize.models.words import WordTokens
from immunize.models.wrapped import Wrapped
from immunize.objectives import fooled
from immunize.threats import Edits


class Standing(NamedTuple):
    """Of the captions as they stand: g(t) and what they are worth; start: g of the originals."""

    text: Embedding
    value: Float[Tensor, " c"]
    start: Embedding


class Slope(NamedTuple):
    """The tokens of the captions as they stand, and d -<guide, g(t)> / d (vector of each)."""

    tokens: Int[Tensor, "c l"]
    gradient: Float[Tensor, "c l w"]


class Draft:
    """max -<guide, g(t')> for each caption: a rewrite takes its place where the value is higher.

    words: the captions as they stand; value, text: what they are worth, and their embeddings, encoded when first asked for.
    image: f of the images, which the verdict goes by; guide: the vectors, one an image, that the captions are to get away
    from.
    """

    def __init__(self, model: DualEncoder, batch: Batch, image: Embedding, guide: Embedding, rules: Rules) -> None:
        self.model, self.batch, self.rules = model, batch, rules
        self.words = list(rules.original)
        speaker, alone = (model.speaker, model.by_word) if isinstance(model, Wrapped) else (model, True)
        self.tokens = WordTokens(speaker.tokenize, batch.captions, alone)
        self.image, self.guide = image, guide[batch.owner]
        self.texts = batch.owner.new_zeros(len(batch))
        self._standing: Standing | None = None
        self._slope: Slope | None = None
        self._ends: dict[int, tuple[Words, list[int]]] = {}
        self._seen: set[Rewrite] = set()

    @classmethod
    @contextmanager
    def of(
        cls, model: DualEncoder, batch: Batch, threat: Edits, guide: Embedding | None, embed: Embed | None = None
    ) -> Iterator[Draft]:
        """The batch's captions before `model`, which is left as it was; without a guide the images are one.

        Raises RuntimeError under torch.inference_mode().
        """
        with untouched(model), torch.no_grad():
            image = encode_images(model, batch.images)
            yield cls(model, batch, image, image if guide is None else guide, Rules(threat, batch, embed))

    @property
    def text(self) -> Embedding:
        return self.standing.text

    @property
    def value(self) -> Float[Tensor, " c"]:
        return self.standing.value

    @property
    def standing(self) -> Standing:
        return self._standing or self._stand(*self.score([Rewrite(c, words) for c, words in enumerate(self.words)]))

    def _stand(self, text: Embedding, value: Float[Tensor, " c"]) -> Standing:
        self._standing = Standing(text, value, text.clone())
        return self._standing

    def slope(self) -> Slope:
        """One pass forth and back for all captions as they stand, kept until one of them changes."""
        if self._slope is None:
            captions = [" ".join(words) for words in self.words]
            tokens = self.tokens(captions)
            self.count(torch.arange(len(tokens), device=tokens.device))
            with torch.enable_grad():
                embedded = self.model.embed_tokens(tokens).detach().requires_grad_()
                text = self.model.encode_text(tokens, embedded)
                value = -(self.guide * text).sum(dim=1)
                self._slope = Slope(tokens, *torch.autograd.grad(value.sum(), embedded))
            if self._standing is None:  # the originals need no pass of their own
                self._stand(text.detach(), value.detach())
                if isinstance(self.model, Remembering):
                    self.model.keep(captions, text.detach())
        return self._slope

    def ends(self, caption: int) -> list[int]:
        """Where the words of the caption as it stands end among its tokens, the start of text being token 0."""
        words = self.words[caption]
        if caption not in self._ends or self._ends[caption][0] != words:
            width = (len(self.tokens.pieces(word)) for word in words)
            self._ends[caption] = words, list(accumulate(width, initial=1))
        return self._ends[caption][1]

    def edited(self, caption: int) -> set[int]:
        """The positions where the caption differs from its original."""
        return {p for p, (a, b) in enumerate(zip(self.rules.original[caption], self.words[caption])) if a != b}

    def allowed(self, edits: Iterable[Edit]) -> list[Rewrite]:
        """The captions as they stand, each with one of the edits, less what the threat refuses."""
        real = (edit for edit in edits if edit.substitute.lower() != self.words[edit.caption][edit.position].lower())
        return self.rules.rewrites(self.after(edit) for edit in self.rules.edits(real))

    def after(self, edit: Edit) -> Rewrite:
        """A caption as it stands with one more edit."""
        words = self.words[edit.caption]
        return Rewrite(edit.caption, (*words[: edit.position], edit.substitute, *words[edit.position + 1 :]))

    def improve(self, rewrites: Sequence[Rewrite]) -> None:
        """Score the rewrites that are new, all in one encoding; each caption takes its best where that is better."""
        rewrites = [rewrite for rewrite in rewrites if rewrite not in self._seen]
        if not rewrites:
            return
        self._seen.update(rewrites)
        text, value = self.score(rewrites)
        caption = self.captions(rewrites)
        best = first_best(value, caption, self.value)
        self._slope = self._slope if not len(best) else None
        for index in best.tolist():
            self.words[rewrites[index].caption] = rewrites[index].words
        self.text[caption[best]], self.value[caption[best]] = text[best], value[best]

    def score(self, rewrites: Sequence[Rewrite]) -> tuple[Embedding, Float[Tensor, " r"]]:
        """g(t') and -<guide, g(t')> of each rewrite, each of them counted."""
        if not rewrites:
            return self.guide[:0], self.guide.new_empty(0)
        caption = self.captions(rewrites)
        self.count(caption)
        text = encode_captions(self.model, [" ".join(rewrite.words) for rewrite in rewrites], tokenize=self.tokens)
        return text, -(self.guide[caption] * text).sum(dim=1)

    def count(self, caption: Int[Tensor, " n"]) -> None:
        """Add one encoded text for each of these captions to the costs of its image."""
        self.texts.index_add_(0, self.batch.owner[caption], torch.ones_like(caption))

    def captions(self, rewrites: Sequence[Rewrite]) -> Int[Tensor, " r"]:
        """The caption of each rewrite."""
        return torch.tensor([r.caption for r in rewrites], dtype=torch.int64, device=self.batch.owner.device)

    def finish(self) -> Batch:
        """The batch with the captions as they stand, and what was done; the costs of earlier attacks included."""
        captions = tuple(
            old if words == original else " ".join(words)
            for words, original, old in zip(self.words, self.rules.original, self.batch.captions)
        )
        batch = replace(self.batch, captions=captions, originals=self.batch.originals or self.batch.captions)
        first = self.batch.captions == batch.originals != captions  # else the originals were not encoded here
        text, value, start = self.standing
        bank = bank_of(self.model, batch, known=torch.cat([text, start]) if first else text)
        nothing = torch.zeros_like(self.texts)
        outcome = Outcome(
            success=fooled(bank.logits(self.image), bank),
            value=value.new_zeros(len(batch)).index_add(0, batch.owner, value),
            forwards=nothing + 1,
            backwards=nothing,
            texts=self.texts,
            rejected={name: nothing.new_tensor(counts) for name, counts in self.rules.rejected.items()},
        )
        return replace(batch, outcome=outcome.after(batch.outcome))


def first_best(
    value: Float[Tensor, " r"], caption: Int[Tensor, " r"], standing: Float[Tensor, " c"]
) -> Int[Tensor, " n"]:
    """For each caption the first of its highest values, where that is above what stands."""
    highest = standing.scatter_reduce(0, caption, value, "amax")
    places = torch.arange(len(value), device=value.device)
    places = places.masked_fill((value < highest[caption]) | (value <= standing[caption]), len(value))
    first = torch.full_like(highest, len(value), dtype=torch.int64).scatter_reduce(0, caption, places, "amin")
    return first[first < len(value)]
