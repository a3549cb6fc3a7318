"""The text attack and SGA as the published scripts run them: caption by caption, word by word, every string re-tokenized.

Written from the description (arXiv:2004.09984, arXiv:2307.14061), to be timed and compared with, never to be used. What a
script does once a batch is done once a batch here too: the masked language model reads all captions in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate, log_softmax, normalize, pad, softmax

from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.language import MaskedLanguage
from immunize.threats.constraints import STOP_WORDS

MASK = "[UNK]"


@dataclass(frozen=True)
class TextLoop:
    """One word of each caption replaced by the candidate that takes it farthest from its image.

    offset: 0 gives each word the candidates of the piece before it, as published; 1 its own. importance: the divergence of
    the masked caption's embedding, as published, or its distance from the image, as ours: they cost the same.
    """

    language: MaskedLanguage
    candidates: int = 10
    offset: Literal[0, 1] = 0
    importance: Literal["divergence", "distance"] = "divergence"
    pieces: int = 30

    @torch.no_grad()
    def __call__(self, model: Clip, captions: Sequence[str], image: Tensor) -> list[str]:
        """The captions, each away from its row of `image`."""
        predicted = self._predict(captions)
        edited = []
        for i, caption in enumerate(captions):
            words, places = self._places(caption)
            scores = self._importance(model, words, image[i])
            for at in sorted(range(len(words)), key=lambda w: -scores[w]):
                if words[at].lower() in STOP_WORDS or at not in places:
                    continue
                found = self._candidates(words[at], predicted[i][places[at] - 1 + self.offset])
                strings = [" ".join([*words[:at], word, *words[at + 1 :]]) for word in (words[at], *found)]
                distance = -(self.encode(model, strings) @ image[i])
                best = int(distance.argmax())
                if best:
                    words[at] = found[best - 1]
                    break
            edited.append(" ".join(words))
        return edited

    def encode(self, model: Clip, strings: Sequence[str]) -> Tensor:
        """Word pieces, decoded, tokenized again and padded to the whole context, all of it through open_clip's own pass."""
        ids = self.language.tokenizer(list(strings), truncation=True, max_length=self.pieces)["input_ids"]
        tokens = model.tokenizer([self.language.tokenizer.decode(row[1:-1]) for row in ids])
        context = len(model.net.positional_embedding)
        return normalize(model.net.encode_text(pad(tokens, (0, context - tokens.shape[1]))), dim=-1)

    def _predict(self, captions: Sequence[str]) -> list[list[list[int]]]:
        encoded = self.language.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.pieces, return_tensors="pt"
        )
        logits = self.language.model(**encoded).logits
        whole = torch.tensor([piece in set(self.language.whole_words) for piece in self.language.vocabulary])
        return logits.masked_fill(~whole, -torch.inf).topk(self.candidates + 1, dim=-1).indices.tolist()

    def _places(self, caption: str) -> tuple[list[str], dict[int, int]]:
        """The words, and where each one's first piece is behind [CLS]."""
        words, places, at = caption.split(), {}, 1
        for i, word in enumerate(words):
            if at < self.pieces - 1:
                places[i] = at
            at += len(self.language.tokenizer.tokenize(word))
        return words, places

    def _importance(self, model: Clip, words: Sequence[str], image: Tensor) -> list[float]:
        masked = [" ".join([*words[:at], MASK, *words[at + 1 :]]) for at in range(len(words))]
        text = self.encode(model, [" ".join(words), *masked])
        if self.importance == "distance":
            return (-(text[1:] @ image)).tolist()
        log, standing = log_softmax(text[1:], dim=-1), softmax(text[:1], dim=-1)
        return (standing * (standing.log() - log)).sum(dim=-1).tolist()

    def _candidates(self, word: str, ids: Sequence[int]) -> list[str]:
        found = [self.language.vocabulary[i] for i in ids]
        return [
            new for new in [new for new in found if new != word.lower()][: self.candidates] if new not in STOP_WORDS
        ]


@dataclass(frozen=True)
class SetLoop:
    """SGA: `text`, then ten steps on the images with a loop over the scales, then `text` anew against those."""

    text: TextLoop
    eps: float = 2 / 255
    step: float = 0.5 / 255
    steps: int = 10
    scales: tuple[float, ...] = (0.5, 0.75, 1.25, 1.5)

    def __call__(self, model: Clip, batch: Batch, rng: Generator) -> Batch:
        with torch.no_grad():
            clean = model.encode_image(batch.images)
        first = self.text(model, batch.captions, clean[batch.owner])
        with torch.no_grad():
            text = self.text.encode(model, first)
        images = self._images(model, batch, text, rng)
        with torch.no_grad():
            attacked = model.encode_image(images)
        captions = self.text(model, batch.captions, attacked[batch.owner])
        return replace(batch, images=images, captions=tuple(captions))

    def _images(self, model: Clip, batch: Batch, text: Tensor, rng: Generator) -> Tensor:
        clean, count = batch.images, len(batch)
        x = clean + self.eps * (2 * torch.rand(clean.shape, generator=rng, dtype=torch.float64).float() - 1)
        for _ in range(self.steps):
            x = x.clamp(0, 1).detach().requires_grad_()
            image = model.encode_image(torch.cat([x, *(_rescaled(x, scale, rng) for scale in self.scales)]))
            loss, trace = torch.zeros(()), []
            for part in image.split(count):
                own = torch.zeros(count, len(text))
                for caption, owner in enumerate(batch.owner.tolist()):
                    own[owner, caption] = 1
                term = -(part @ text.T * own).sum()
                trace.append(term.item())  # a wait for the device, each time
                loss = loss + term
            (gradient,) = torch.autograd.grad(loss, x)
            x = clean + (x.detach() + self.step * gradient.sign() - clean).clamp(-self.eps, self.eps)
        return x.clamp(0, 1).detach()


def _rescaled(x: Tensor, scale: float, rng: Generator) -> Tensor:
    height, width = x.shape[-2:]
    x = x + 0.05 * torch.randn(x.shape, generator=rng, dtype=torch.float64).float()
    small = interpolate(x, (int(scale * height), int(scale * width)), mode="bicubic")
    return interpolate(small, (height, width), mode="bicubic")
