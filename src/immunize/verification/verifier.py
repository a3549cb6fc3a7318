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


class Look(NamedTuple):
    """A verdict on some pairs, and the cheap features of each, (n, f), by name."""

    verdict: Verdict
    names: tuple[str, ...]
    values: Float[Tensor, "n f"]


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
        return self._look(images, texts).verdict

    def look(self, images: Tensor, texts: Sequence[str]) -> Look:
        """`score`, and the cheap features that it began with, by name. Raises ValueError as `score`, and for no pair."""
        inputs.check(images, texts)
        if not len(images):
            raise ValueError("images: there is no pair to look at")
        return self._look(images, texts)

    @torch.no_grad()
    def _look(self, images: Tensor, texts: Sequence[str]) -> Look:
        parts = [(self.probe.glance(*part), *part) for part in self._parts(images, texts)]
        found = Scored(*(torch.cat(values) for values in zip(*(self._scored(*part) for part in parts))))
        flagged = (found.misaligned > self.threshold.misaligned) | (found.manipulated > self.threshold.manipulated)
        passes = FIRST + found.twice.long() * self.probe.looks
        verdict = Verdict(found.misaligned, found.manipulated, self.threshold, flagged, passes)
        glances = [glance for glance, *_ in parts]
        return Look(verdict, glances[0].names, torch.cat([glance.values for glance in glances]))

    def suspicion(self, images: Tensor, texts: Sequence[str]) -> Scores:
        """`score(...).manipulated`, differentiable in the images: every pair pays for the second look."""
        return self._twice(images, texts).manipulated

    def alarm(self, images: Tensor, texts: Sequence[str]) -> Scores:
        """max of both scores, each less its threshold: above 0 where `score` flags. Differentiable in the images."""
        found = self._twice(images, texts)
        limits = self.threshold
        return torch.maximum(found.manipulated - limits.manipulated, found.misaligned - limits.misaligned)

    def _twice(self, images: Tensor, texts: Sequence[str]) -> Scored:
        """The scores of pairs that are all looked at twice, with gradients."""
        inputs.check(images, texts)
        if not len(images):
            none = images.sum(dim=(1, 2, 3))
            return Scored(none, none, none.bool())
        parts = []
        for pixels, said in self._parts(images, texts):
            glance = self.probe.glance(pixels, said)
            first = self.first(self.head, glance.values)
            second = self.second(self.head, self.probe.stare(glance, pixels, said).values)
            misaligned = self.misaligned(self.head, glance.values)
            parts.append(Scored(misaligned, self.band.merged(first, second), torch.ones_like(first).bool()))
        return Scored(*(torch.cat(values) for values in zip(*parts)))

    def _parts(self, images: Tensor, texts: Sequence[str]) -> list[tuple[Tensor, list[str]]]:
        said = inputs.read(texts, LONGEST)
        pixels = images.float().to(self.probe.answering.device)
        return [(pixels[rows], [said[i] for i in rows.tolist()]) for rows in inputs.blocks(images)]

    def _scored(self, glance: Glance, images: Tensor, texts: list[str]) -> Scored:
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
