"""Is this pair what it seems? Two scores, a calibrated threshold for each, and the passes they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from immunize.verification import inputs
from immunize.verification.cascade import Band
from immunize.verification.conformal import Threshold
from immunize.verification.evidence import Seen
from immunize.verification.heads import Head, Scores, Weights
from immunize.verification.probe import FIRST, Glance, Probe
from immunize.verification.whitening import Whitening
from immunize.verification.wording import LONGEST


@dataclass(frozen=True, slots=True)
class Verdict:
    """Scores of n pairs, higher = more suspicious; flagged where either is above its threshold.

    misaligned: the text does not belong to the image, whoever is to blame. manipulated: somebody worked on the image or the
    text. passes: image and text passes beyond the two with which the answering model answers.
    """

    misaligned: Float[Tensor, " n"]
    manipulated: Float[Tensor, " n"]
    threshold: Threshold
    flagged: Bool[Tensor, " n"]
    passes: Int[Tensor, " n"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A fitted head over whitened features; its score is centered and scaled so that clean pairs have mean 0, deviation 1."""

    whitening: Whitening
    weights: Weights
    center: float
    spread: float

    def __call__(self, head: Head, values: Float[Tensor, "n f"]) -> Scores:
        return (head(self.weights, self.whitening(values)) - self.center) / self.spread

    @classmethod
    def of(cls, head: Head, whitening: Whitening, weights: Weights, clean: Float[Tensor, "n f"]) -> Stage:
        """Scaled on clean pairs."""
        raw = head(weights, whitening(clean)).double()
        return cls(whitening, weights, float(raw.mean()), max(float(raw.std()), 1e-6))


class Scored(NamedTuple):
    """The two scores, and which pairs were looked at twice."""

    misaligned: Scores
    manipulated: Scores
    twice: Bool[Tensor, " n"]


@dataclass(frozen=True, slots=True)
class Verifier:
    """`probe` sees, three fitted heads judge: misaligned and a first and a second score for manipulated, joined by `band`."""

    probe: Probe
    head: Head
    misaligned: Stage
    first: Stage
    second: Stage
    band: Band
    threshold: Threshold

    def score(self, images: Tensor, texts: Sequence[str]) -> Verdict:
        """One verdict a pair, free of the company it is in: `images` float (n, 3, height, width) in [0, 1].

        Any text is judged: empty, of 100,000 characters (the first 2,000 are read, a run of white space as one), of any script.
        Raises ValueError that names the pair for pixels that are no numbers in [0, 1], for images without pixels, and for
        what is no text.
        """
        inputs.check(images, texts)
        if not len(images):
            none = torch.zeros(0, device=images.device)
            return Verdict(none, none, self.threshold, none.bool(), none.long())
        with torch.no_grad():
            parts = [self._scored(*part) for part in self._parts(images, texts)]
        found = Scored(*(torch.cat(values) for values in zip(*parts)))
        flagged = (found.misaligned > self.threshold.misaligned) | (found.manipulated > self.threshold.manipulated)
        passes = FIRST + found.twice.long() * self.probe.looks
        return Verdict(found.misaligned, found.manipulated, self.threshold, flagged, passes)

    def suspicion(self, images: Tensor, texts: Sequence[str]) -> Scores:
        """`score(...).manipulated`, differentiable in the images: every pair pays for the second look."""
        inputs.check(images, texts)
        if not len(images):
            return images.sum(dim=(1, 2, 3))
        parts = []
        for part, said in self._parts(images, texts):
            glance = self.probe.glance(part, said)
            first = self.first(self.head, glance.values)
            second = self.second(self.head, self.probe.stare(glance, part, said).values)
            parts.append(self.band.merged(first, second))
        return torch.cat(parts)

    def alarm(self, images: Tensor, texts: Sequence[str]) -> Scores:
        """max of both scores, each less its threshold: above 0 where `score` flags. Differentiable in the images."""
        manipulated = self.suspicion(images, texts) - self.threshold.manipulated
        if not len(images):
            return manipulated
        misaligned = self.misaligned(self.head, self.glance(images, texts).values) - self.threshold.misaligned
        return torch.maximum(manipulated, misaligned)

    def glance(self, images: Tensor, texts: Sequence[str]) -> Glance:
        """The cheap features of each pair, by name, as the first stage sees them. Raises ValueError for no pair."""
        inputs.check(images, texts)
        if not len(images):
            raise ValueError("images: there is no pair to look at")
        parts = [self.probe.glance(*part) for part in self._parts(images, texts)]
        seen = Seen(*(torch.cat(values) for values in zip(*(part.seen for part in parts))))
        return Glance(seen, parts[0].names, torch.cat([part.values for part in parts]))

    def _parts(self, images: Tensor, texts: Sequence[str]) -> list[tuple[Tensor, list[str]]]:
        said = inputs.read(texts, LONGEST)
        pixels = images.float().to(self.probe.answering.device)
        return [(pixels[rows], [said[i] for i in rows.tolist()]) for rows in inputs.blocks(images)]

    def _scored(self, images: Tensor, texts: list[str]) -> Scored:
        glance = self.probe.glance(images, texts)
        misaligned, manipulated = self.misaligned(self.head, glance.values), self.first(self.head, glance.values)
        twice = self.band.holds(manipulated)
        if bool(twice.any()):
            rows = twice.nonzero().flatten()
            seen = type(glance.seen)(*(value[rows] for value in glance.seen))
            part = Glance(seen, glance.names, glance.values[rows])
            full = self.probe.stare(part, images[rows], [texts[i] for i in rows.tolist()])
            second = self.band.within(self.second(self.head, full.values))
            manipulated = manipulated.index_copy(0, rows, second)
        return Scored(misaligned, manipulated, twice)
