"""Two models and what they know of clean pairs: the features of a pair, cheap ones first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from immunize.batch import Embedding, Image
from immunize.models import DualEncoder, language
from immunize.models.encode import encode_captions, encode_images
from immunize.serving.denoise import Cleaner
from immunize.serving.spelling import Spelling, core
from immunize.serving.views import Views
from immunize.verification import evidence
from immunize.verification.evidence import Features, Seen
from immunize.verification.reference import Reference
from immunize.verification.wording import Vocabulary

RADII = (1, 4)  # of the noise, in 255ths
FIRST = 2  # passes beyond the answering model's own: image and text of the clean branch
Denoise = Callable[[Sequence[str]], Sequence[str]]


class Glance(NamedTuple):
    """The cheap look at some pairs: as the answering model sees them, and its features with those of the clean branch."""

    seen: Seen
    names: tuple[str, ...]
    values: Float[Tensor, "n f"]


@dataclass(frozen=True, slots=True)
class Probe:
    """`answering` is the model whose answers are watched, `clean` the branch beside it, `banks` what each says of clean pairs.

    denoise: undoes misspellings (`corrector`, voting with the masked model in `language`); None leaves the group `denoised`
    out. seed: of the fixed noise that shakes an image. sources: where `models.load` finds the two models again.
    """

    answering: DualEncoder
    clean: DualEncoder
    banks: tuple[Reference, Reference]
    vocabulary: Vocabulary
    views: Views = field(default_factory=Views)
    denoise: Denoise | None = None
    language: str | None = None
    seed: int = 0
    sources: tuple[str, ...] = ()

    @property
    def looks(self) -> int:
        """Passes of a second look: the views, the noises, a gradient, which costs three, and the text spelled again."""
        return len(self.views) + len(RADII) + 3 + (self.denoise is not None)

    def glance(self, images: Image, texts: Sequence[str]) -> Glance:
        """Two encoder passes a pair beyond the two of the answer."""
        mine = Seen(self.answering.encode_image(images), encode_captions(self.answering, texts))
        other = Seen(self.clean.encode_image(images), encode_captions(self.clean, texts))
        scales = self.answering.logit_scale.detach(), self.clean.logit_scale.detach()
        (bank, second), (scale, second_scale) = self.banks, scales
        groups: dict[str, Features] = {
            "alignment": evidence.alignment(mine, bank, scale),
            "alignment_clean": evidence.alignment(other, second, second_scale),
            "branches": evidence.branches(mine, other, self.banks, scales),
            "neighborhood": evidence.neighborhood(mine, bank),
            "neighborhood_clean": evidence.neighborhood(other, second),
            "residual": evidence.residual(mine, bank),
            "residual_clean": evidence.residual(other, second),
            "grain": evidence.grain(images),
            "wording": self.vocabulary.features(texts) | self._tokens(texts),
        }
        return Glance(mine, *evidence.stacked(groups))

    def stare(self, glance: Glance, images: Image, texts: Sequence[str]) -> Glance:
        """Beside the cheap features those of the cosine's slope, of the views, of tiny noise, and of the denoised text."""
        seen = glance.seen
        moved = self._moved(images)
        count = len(self.views)
        groups: dict[str, Features] = {
            "uphill": evidence.uphill(images, self._slope(images, seen.text)),
            "stability": evidence.stability(seen, moved[:count]),
            "tremor": evidence.tremor(seen, moved[count:], RADII),
        }
        if self.denoise is not None:
            corrected = list(self.denoise(texts))
            edits = [_edits(old, new) for old, new in zip(texts, corrected)]
            embedded = encode_captions(self.answering, corrected)
            groups["denoised"] = evidence.rewording(seen, embedded, torch.tensor(edits).to(embedded))
        names, values = evidence.stacked(groups)
        return Glance(seen, glance.names + names, torch.cat([glance.values, values], dim=1))

    def _moved(self, images: Image) -> Float[Tensor, "v n d"]:
        """f_v of each view and of each noisy copy, in one pass of all."""
        noise = torch.rand(images.shape[1:], generator=Generator().manual_seed(self.seed)).to(images) * 2 - 1
        shaken = [(images + noise * (radius / 255)).clamp(0, 1) for radius in RADII]
        every = torch.cat([self.views(images), torch.stack(shaken)])
        return self.answering.encode_image(every.flatten(0, 1)).unflatten(0, every.shape[:2])

    def _slope(self, images: Image, text: Embedding) -> Image:
        """d cos(f(x), f_t) / dx, differentiable in turn where the images are."""
        again = torch.is_grad_enabled() and images.requires_grad
        with torch.inference_mode(False), torch.enable_grad():
            x = images if again else images.detach().clone().requires_grad_()
            value = (self.answering.encode_image(x) * text.detach().clone()).sum()
            (slope,) = torch.autograd.grad(value, x, create_graph=again)
        return slope

    def _tokens(self, texts: Sequence[str]) -> Features:
        """tokens: log of the tokens of a text; pieces: tokens a word."""
        distinct = list(dict.fromkeys(texts))
        place = {text: i for i, text in enumerate(distinct)}
        tokens = self.answering.tokenize(distinct).cpu()
        length = (tokens != 0).sum(dim=1)[[place[text] for text in texts]].float()
        words = torch.tensor([max(len(text.split()), 1) for text in texts], dtype=torch.float32)
        return {"tokens": length.log1p(), "pieces": length / words}


def reference(model: DualEncoder, images: Tensor, texts: Sequence[str]) -> Reference:
    """The bank of clean pairs in a model's own embeddings; images uint8 or float in [0, 1]."""
    return Reference.of(encode_images(model, images.to(model.device)), encode_captions(model, texts))


def corrector(vocabulary: Vocabulary, folder: str | None) -> Denoise:
    """Unknown words become the nearest known ones; the masked language model in `folder` votes among them."""
    counts = {core(word)[1]: count for word, count in sorted(vocabulary.counts.items(), key=lambda one: one[1])}
    words = sorted(counts.keys() - {""}, key=lambda word: (-counts[word], word))
    return Cleaner(Spelling(words), None if folder is None else language.load(folder))


def _edits(old: str, new: str) -> float:
    """Words that differ, or that one text has more."""
    a, b = old.split(), new.split()
    return float(sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b)))
